"""Reading MIDI files that nobody has checked, within bounded time and memory."""

import collections
import io
import os
import types
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nlf_jax.data.music.piano_roll import LOWEST_PITCH, NUM_PITCHES
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
    reader = _NoteReader()
    end_tick = max(map(reader.read_track, midi.tracks), default=0)
    start, end, pitch = np.array(reader.notes, np.int64).reshape(-1, 3).T
    return Notes(start, end, pitch, end_tick, dict(reader.left_out))


class _NoteReader:
    """Collects (start, end, pitch) of notes in ticks, and counts those left out by reason."""

    def __init__(self) -> None:
        self.notes: list[tuple[int, int, int]] = []
        self.left_out: collections.Counter[str] = collections.Counter()
        self._sounding: dict[tuple[int, int], list[int]] = {}

    def read_track(self, track: "mido.MidiTrack") -> int:
        """Returns the end of the track in ticks."""
        tick = 0
        for message in track:
            tick += message.time
            if tick > _MAX_TICKS:
                raise UserError("The MIDI file lasts for ages: a time in it is damaged.")
            if message.type == "note_on" and message.velocity > 0:
                self._start(tick, message.channel, message.note)
            elif message.type in ("note_on", "note_off"):
                self._end(tick, message.channel, message.note)
        self._count("without an end", sum(map(len, self._sounding.values())))
        self._sounding.clear()
        return tick

    def _start(self, tick: int, channel: int, pitch: int) -> None:
        if channel == _DRUM_CHANNEL:
            self._count("drums", 1)
        elif not 0 <= pitch - LOWEST_PITCH < NUM_PITCHES:
            self._count("out of range", 1)
        else:
            self._sounding.setdefault((channel, pitch), []).append(tick)

    def _end(self, tick: int, channel: int, pitch: int) -> None:
        """Ends all notes of that key, but not one that starts here where an older one can end."""
        starts = self._sounding.pop((channel, pitch), [])
        older = [start for start in starts if start < tick]
        self.notes.extend((start, tick, pitch) for start in older)
        new = starts[len(older) :]
        if older and new:
            self._sounding[channel, pitch] = new
        else:
            self._count("without a length", len(new))

    def _count(self, reason: str, number: int) -> None:
        if number:
            self.left_out[reason] += number


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
