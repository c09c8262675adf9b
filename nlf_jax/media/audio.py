"""Sound of a piano roll: every note a sum of decaying partials, in NumPy alone.

Soundfont players that pip can install need a system library; a struck string takes a few lines.
"""

import functools
import io
import os
import wave

import numpy as np

from nlf_jax.data.music.midi_roll import check_timing
from nlf_jax.data.music.piano_roll import LOWEST_PITCH, check_roll, held_notes
from nlf_jax.errors import UserError

SAMPLE_RATE = 44_100
_NUM_PARTIALS = 10
_INHARMONICITY = 4e-4
_ATTACK_SECONDS, _RELEASE_SECONDS, _LONGEST_SECONDS = 0.004, 0.15, 8.0
_PEAK = 0.9


def roll_to_audio(
    roll: np.ndarray, *, frames_per_quarter: int = 2, beats_per_minute: float = 100.0
) -> np.ndarray:
    """The sound of a piano roll; keys that sound in consecutive frames are held.

    Args:
        roll: bool [T, 88].
        frames_per_quarter: frames in a quarter note.
        beats_per_minute: quarter notes per minute.

    Returns:
        float32 [N] in -1..1 at 44,100 samples per second.

    Raises:
        UserError: the arguments are not of that form.
    """
    roll = check_roll(roll)
    samples_per_frame = _samples_per_frame(frames_per_quarter, beats_per_minute)
    tail = int(_RELEASE_SECONDS * SAMPLE_RATE) + 1
    audio = np.zeros(round(len(roll) * samples_per_frame) + tail, np.float32)
    for key, start, end in held_notes(roll):
        first = round(start * samples_per_frame)
        tone = _tone(key + LOWEST_PITCH, round((end - start) * samples_per_frame))
        audio[first : first + len(tone)] += tone[: len(audio) - first]
    peak = np.abs(audio).max()
    return audio * np.float32(_PEAK / peak) if peak else audio


def roll_to_wav(
    roll: np.ndarray,
    path: str | os.PathLike | None = None,
    *,
    frames_per_quarter: int = 2,
    beats_per_minute: float = 100.0,
) -> bytes:
    """A mono 16-bit WAV file of a piano roll, also written to ``path`` if that is given.

    Raises:
        UserError: the file cannot be written, or as for ``roll_to_audio``.
    """
    audio = roll_to_audio(
        roll, frames_per_quarter=frames_per_quarter, beats_per_minute=beats_per_minute
    )
    content = _wav_bytes(audio)
    if path is not None:
        try:
            with open(path, "wb") as file:
                file.write(content)
        except OSError as error:
            raise UserError(f"Cannot write {path}: {error.strerror or error}.") from error
    return content


def _samples_per_frame(frames_per_quarter: int, beats_per_minute: float) -> float:
    check_timing(frames_per_quarter, beats_per_minute)
    return SAMPLE_RATE * 60 / beats_per_minute / frames_per_quarter


@functools.lru_cache(maxsize=256)
def _tone(pitch: int, num_held: int) -> np.ndarray:
    """One note, float32 [num_held + release]: higher partials are weaker and decay faster."""
    release = int(_RELEASE_SECONDS * SAMPLE_RATE)
    num_held = min(num_held, int(_LONGEST_SECONDS * SAMPLE_RATE))
    time = np.arange(num_held + release, dtype=np.float32) / SAMPLE_RATE
    fundamental = 440.0 * 2 ** ((pitch - 69) / 12)
    tone = np.zeros_like(time)
    for n in range(1, _NUM_PARTIALS + 1):
        frequency = n * fundamental * (1 + _INHARMONICITY * n * n) ** 0.5
        if frequency < SAMPLE_RATE / 2:
            decay = 0.5 + 0.3 * n * (fundamental / 262) ** 0.7
            tone += n**-1.4 * np.exp(-decay * time) * np.sin(2 * np.pi * frequency * time)
    return tone * _envelope(num_held, release)


def _envelope(num_held: int, release: int) -> np.ndarray:
    """Rises in some milliseconds, so that no click is heard, and falls after the key is up."""
    attack = np.minimum(np.arange(num_held + release) / (_ATTACK_SECONDS * SAMPLE_RATE), 1)
    fall = np.concatenate([np.ones(num_held), np.linspace(1, 0, release) ** 2])
    return (attack * fall).astype(np.float32)


def _wav_bytes(audio: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((audio * 32767).astype("<i2").tobytes())
    return buffer.getvalue()
