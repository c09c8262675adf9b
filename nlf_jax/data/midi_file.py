"""Reading MIDI files that nobody has checked, within bounded time and memory."""

import io
import os
import types
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nlf_jax.data.piano_roll import LOWEST_PITCH, NUM_PITCHES
from nlf_jax.errors import UserError

if TYPE_CHECKING:
    import mido

MAX_FILE_BYTES = 1_000_000
_MAX_TICKS = 2**40
_DRUM_CHANNEL = 9


class Notes(NamedTuple):
    """The notes of a MIDI file in ticks.

    Attributes:
      start, end, pitch: int64 [N], start < end.
      end_tick: where the last track ends.
      left_out: how many notes were not taken, by reason.
    """

    start: np.ndarray
    end: np.ndarray
    pitch: np.ndarray
    end_tick: int
    left_out: dict[str, int]


def import_mido() -> types.ModuleType:
    """The module mido, or a UserError that says how to install it."""
    try:
        import mido
    except ImportError as error:
        raise UserError('MIDI needs mido: pip install "nlf_jax[music]".') from error
    return mido


def read_midi_file(path: str | os.PathLike) -> "mido.MidiFile":
    """Reads a MIDI file of at most 1 MB, whatever its bytes are.

    Raises:
      UserError: it cannot be read, is too large or is not MIDI, or mido is not installed.
    """
    mido = import_mido()
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from error
    if len(content) > MAX_FILE_BYTES:
        raise UserError(f"{path} is larger than {MAX_FILE_BYTES:,} bytes, too large for MIDI.")
    try:
        return mido.MidiFile(file=_GuardedBytes(content))
    except Exception as error:  # mido lets through whatever its internals run into
        detail = str(error) or "it ends too early"
        raise UserError(f"{path} is not a whole MIDI file ({detail}).") from error


def read_notes(midi: "mido.MidiFile") -> Notes:
    """The notes in reach of the piano, in ticks; drums, stray and endless notes are left out.

    Raises:
      UserError: an asynchronous file, one without musical time, or one that never ends.
    """
    if midi.type not in (0, 1):
        raise UserError(f"MIDI type {midi.type} is not supported; save it as type 0 or 1.")
    if midi.ticks_per_beat <= 0:
        raise UserError("The MIDI file counts film frames (SMPTE), not beats; save it with beats.")
    notes: list[tuple[int, int, int]] = []
    left_out = {"drums": 0, "out of range": 0, "without an end": 0, "without a length": 0}
    end_tick = max((_read_track(track, notes, left_out) for track in midi.tracks), default=0)
    start, end, pitch = np.array(notes, np.int64).reshape(-1, 3).T
    left_out = {reason: count for reason, count in left_out.items() if count}
    return Notes(start, end, pitch, end_tick, left_out)


def _read_track(
    track: "mido.MidiTrack", notes: list[tuple[int, int, int]], left_out: dict[str, int]
) -> int:
    """Appends the notes of a track, counts those left out, and returns its end in ticks."""
    tick, sounding = 0, {}
    for message in track:
        tick += message.time
        if tick > _MAX_TICKS:
            raise UserError("The MIDI file lasts for ages: a time in it is damaged.")
        if message.type == "note_on" and message.velocity > 0:
            _start_note(message, tick, sounding, left_out)
        elif message.type in ("note_on", "note_off"):
            _end_note(message, tick, sounding, notes, left_out)
    left_out["without an end"] += sum(map(len, sounding.values()))
    return tick


def _start_note(
    message: "mido.Message", tick: int, sounding: dict, left_out: dict[str, int]
) -> None:
    if message.channel == _DRUM_CHANNEL:
        left_out["drums"] += 1
    elif not 0 <= message.note - LOWEST_PITCH < NUM_PITCHES:
        left_out["out of range"] += 1
    else:
        sounding.setdefault((message.channel, message.note), []).append(tick)


def _end_note(
    message: "mido.Message",
    tick: int,
    sounding: dict,
    notes: list[tuple[int, int, int]],
    left_out: dict[str, int],
) -> None:
    """Ends all notes of that key, but not one that starts here where an older one can end."""
    starts = sounding.pop((message.channel, message.note), [])
    older = [start for start in starts if start < tick]
    notes.extend((start, tick, message.note) for start in older)
    new = starts[len(older) :]
    if older and new:
        sounding[message.channel, message.note] = new
    else:
        left_out["without a length"] += len(new)


class _GuardedBytes(io.BytesIO):
    """Stops mido, which sets no limit, at a number written in thousands of bytes.

    Such a number takes quadratic time. mido reads byte by byte; a number goes on while the high
    bit is set, which no music needs as often in a row.
    """

    _MAX_RUN = 4096
    _run = 0

    def read(self, size: int | None = -1) -> bytes:
        content = super().read(size)
        self._run = self._run + 1 if len(content) == 1 and content >= b"\x80" else 0
        if self._run > self._MAX_RUN:
            raise ValueError("a number in it does not end")
        return content
