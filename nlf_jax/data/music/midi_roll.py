"""Piano rolls to MIDI and back, exact on the frame grid.

A roll says which keys sound in a frame, not which were struck: a key that sounds in consecutive
frames is one held note. With that convention ``midi_to_roll(roll_to_midi(roll))`` is ``roll``.
"""

import io
import struct
import types
from typing import TYPE_CHECKING

import numpy as np

from nlf_jax.data.music.midi_events import MidiEvents, parse_midi
from nlf_jax.data.music.midi_notes import Notes, read_notes
from nlf_jax.data.music.piano_roll import LOWEST_PITCH, NUM_PITCHES, check_roll
from nlf_jax.errors import UserError

if TYPE_CHECKING:
    import mido

MAX_FRAMES = 100_000
MAX_FRAMES_PER_QUARTER = 64
# A frame is a quarter note at least, and MIDI writers count four of them a minute or more.
MIN_BEATS_PER_MINUTE = 4
MAX_FRAME_SECONDS = 60 / MIN_BEATS_PER_MINUTE
_TICKS_PER_FRAME = 120
_VELOCITY = 80


def roll_to_midi(
    roll: np.ndarray, *, frames_per_quarter: int = 2, beats_per_minute: float = 100.0
) -> "mido.MidiFile":
    """A one-track MIDI file of a piano roll; a key in consecutive frames is one held note.

    Args:
        roll: bool [T, 88].
        frames_per_quarter: frames in a quarter note, 1..64.
        beats_per_minute: quarter notes per minute, 4..1000.

    Raises:
        UserError: the arguments are not of that form, or mido is not installed.
    """
    mido = _import_mido()
    roll = check_roll(roll)
    check_timing(frames_per_quarter, beats_per_minute)
    track = mido.MidiTrack()
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(beats_per_minute)))
    track.extend(_note_messages(roll))
    ticks_per_beat = _TICKS_PER_FRAME * frames_per_quarter
    return mido.MidiFile(type=0, ticks_per_beat=ticks_per_beat, tracks=[track])


def _import_mido() -> types.ModuleType:
    try:
        import mido
    except ImportError as error:
        raise UserError('Writing MIDI needs mido: pip install "nlf_jax[music]".') from error
    return mido


def midi_to_roll(
    midi: "MidiEvents | mido.MidiFile",
    *,
    frames_per_quarter: int = 2,
    frame_seconds: float | None = None,
) -> np.ndarray:
    """The piano roll of a MIDI file: the union of its tracks, drums left out.

    Starts and ends are rounded to the nearest frame boundary and a note keeps at least one frame.
    Notes outside of MIDI 21..108 are left out. A note struck again where one of its key ends is
    not told from that one going on. The sustain pedal and "all notes off" are obeyed.

    Args:
        midi: what ``read_midi_file`` returns, or a file of mido of type 0 or 1.
        frames_per_quarter: frames in a quarter note, 1..64.
        frame_seconds: if given, frames last this long instead, by the file's tempo changes.

    Returns:
        bool [T, 88]; T is where the last track ends.

    Raises:
        UserError: the file or an argument is not of that form, a tempo of the file is damaged
            though frames last ``frame_seconds``, or there are more than 100,000 frames.
    """
    check_frame_length(frames_per_quarter, frame_seconds)
    midi = midi if isinstance(midi, MidiEvents) else _events_of(midi)
    return notes_to_roll(midi, read_notes(midi), frames_per_quarter, frame_seconds)


def _events_of(midi: "mido.MidiFile") -> MidiEvents:
    buffer = io.BytesIO()
    try:
        midi.save(file=buffer)
    except (ValueError, struct.error) as error:
        raise UserError(f"This mido.MidiFile cannot be a file ({error}).") from error
    return parse_midi(buffer.getvalue())


def check_timing(frames_per_quarter: int, beats_per_minute: float) -> None:
    """Raises UserError unless these are in the ranges that ``roll_to_midi`` gives."""
    check_frame_length(frames_per_quarter, None)
    if not MIN_BEATS_PER_MINUTE <= beats_per_minute <= 1000:
        raise UserError(
            f"beats_per_minute must be between {MIN_BEATS_PER_MINUTE} and 1000, "
            f"got {beats_per_minute}."
        )


def check_frame_length(frames_per_quarter: int, frame_seconds: float | None) -> None:
    """Raises UserError unless these are in the ranges that ``midi_to_roll`` gives."""
    whole = isinstance(frames_per_quarter, int | np.integer)
    if not whole or not 1 <= frames_per_quarter <= MAX_FRAMES_PER_QUARTER:
        raise UserError(
            f"frames_per_quarter must be a whole number from 1 to {MAX_FRAMES_PER_QUARTER}, "
            f"got {frames_per_quarter}."
        )
    if frame_seconds is not None and not 0.001 <= frame_seconds <= MAX_FRAME_SECONDS:
        raise UserError(
            f"frame_seconds must be between 0.001 and {MAX_FRAME_SECONDS:g}, got {frame_seconds}."
        )


def notes_to_roll(
    midi: MidiEvents, notes: Notes, frames_per_quarter: int, frame_seconds: float | None
) -> np.ndarray:
    """``midi_to_roll`` with the notes already read and the frame length checked: bool [T, 88]."""
    if frame_seconds is None:
        start, end, num_frames = _frames_by_ticks(midi, notes, frames_per_quarter)
    else:
        start, end, num_frames = _frames_by_seconds(midi, notes, frame_seconds)
    end = np.maximum(end, start + 1)
    num_frames = max(num_frames, int(end.max(initial=0)))
    if num_frames > MAX_FRAMES:
        raise UserError(
            f"The MIDI file lasts {num_frames:,} frames, more than {MAX_FRAMES:,}; "
            "choose longer frames or cut it."
        )
    return _lay_out(start, end, notes.pitch - LOWEST_PITCH, num_frames)


def _lay_out(start: np.ndarray, end: np.ndarray, key: np.ndarray, num_frames: int) -> np.ndarray:
    # Counting starts minus ends bounds the time by notes + frames, however long the notes are.
    change = np.zeros((num_frames + 1, NUM_PITCHES), np.int32)
    np.add.at(change, (start, key), 1)
    np.add.at(change, (end, key), -1)
    return change.cumsum(axis=0, dtype=np.int32)[:-1].astype(np.bool_)


def _note_messages(roll: np.ndarray) -> list["mido.Message"]:
    mido = _import_mido()
    silence = np.zeros((1, NUM_PITCHES), np.int8)
    change = np.diff(np.concatenate([silence, roll.astype(np.int8), silence]), axis=0)
    messages, last_frame = [], 0
    for frame, key in np.argwhere(change):
        kind = "note_on" if change[frame, key] > 0 else "note_off"
        ticks = int(frame - last_frame) * _TICKS_PER_FRAME
        pitch = int(key) + LOWEST_PITCH
        messages.append(mido.Message(kind, note=pitch, velocity=_VELOCITY, time=ticks))
        last_frame = frame
    rest = int(len(roll) - last_frame) * _TICKS_PER_FRAME
    return [*messages, mido.MetaMessage("end_of_track", time=rest)]


def _frames_by_ticks(
    midi: MidiEvents, notes: Notes, frames_per_quarter: int
) -> tuple[np.ndarray, np.ndarray, int]:
    quarter = midi.ticks_per_quarter

    def nearest(ticks):
        return (2 * frames_per_quarter * ticks + quarter) // (2 * quarter)

    return nearest(notes.start), nearest(notes.end), nearest(notes.end_tick)


def _frames_by_seconds(
    midi: MidiEvents, notes: Notes, frame_seconds: float
) -> tuple[np.ndarray, np.ndarray, int]:
    ticks, seconds, last_rate = _tempo_map(midi)

    def nearest(at):
        beyond = np.maximum(at - ticks[-1], 0) * last_rate
        return np.floor((np.interp(at, ticks, seconds) + beyond) / frame_seconds + 0.5)

    start, end = nearest(notes.start).astype(np.int64), nearest(notes.end).astype(np.int64)
    return start, end, int(nearest(notes.end_tick))


def _tempo_map(midi: MidiEvents) -> tuple[np.ndarray, np.ndarray, float]:
    """Ticks and seconds of the tempo changes, and the seconds per tick after the last."""
    ticks, tempos = np.array([(0, 500_000), *midi.tempos], np.float64).T
    if not tempos.all():
        raise UserError("A tempo in it cannot be read: give frames_per_quarter, not frame_seconds.")
    rates = tempos / 1e6 / midi.ticks_per_quarter
    seconds = np.concatenate([[0.0], np.cumsum(np.diff(ticks) * rates[:-1])])
    return ticks, seconds, rates[-1]
