"""Piano rolls to see and to hear: MIDI, WAV, pictures, and all of them in a notebook."""

from nlf_jax.data.music.midi_events import read_midi_file
from nlf_jax.data.music.midi_roll import midi_to_roll, roll_to_midi
from nlf_jax.data.music.piano_roll import decode_rolls
from nlf_jax.media.audio import roll_to_audio, roll_to_wav
from nlf_jax.media.plot import plot_roll
from nlf_jax.media.samples import save_sample, show

__all__ = [
    "decode_rolls",
    "midi_to_roll",
    "plot_roll",
    "read_midi_file",
    "roll_to_audio",
    "roll_to_midi",
    "roll_to_wav",
    "save_sample",
    "show",
]
