"""Reading MIDI files that nobody has checked, within bounded time and memory.

Only what sounds or tells the time is looked at. All else is stepped over, whatever it holds, and
what is damaged is counted: it costs the notes only where nobody could say what they are.
"""

import collections
import os
import struct
from typing import NamedTuple

from nlf_jax.data.data_file import open_data_file
from nlf_jax.errors import UserError

MAX_FILE_BYTES = 1_000_000
NOTE_OFF, NOTE_ON, CONTROL = 0x80, 0x90, 0xB0
PEDAL, SOUND_OFF, RESET, NOTES_OFF = 64, 120, 121, 123
_CONTROLS = frozenset({PEDAL, SOUND_OFF, RESET, *range(NOTES_OFF, 128)})
_HEADER_BYTES = 14
_MAX_TICKS = 2**40
_MAX_NUMBER_BYTES = 8
_SYSTEM_DATA = {0xF1: 1, 0xF2: 2, 0xF3: 1}
_TEMPO, _END_OF_TRACK, _KEY_SIGNATURE = 0x51, 0x2F, 0x59
_META_LENGTHS = {0x20: 1, 0x21: 1, _END_OF_TRACK: 0, _TEMPO: 3, 0x54: 5, 0x58: 4, _KEY_SIGNATURE: 2}


class Event(NamedTuple):
    """A note that starts or ends, or a controller that decides how long notes sound.

    Attributes:
        tick: from the start of the piece.
        track: its number in the file, from 0.
        kind: ``NOTE_ON``, ``NOTE_OFF`` or ``CONTROL``.
        channel: 0..15.
        number: the pitch, or the number of the controller.
        value: the velocity, or the controller's value. Above 127, like number, where it is damaged.
    """

    tick: int
    track: int
    kind: int
    channel: int
    number: int
    value: int


class MidiEvents(NamedTuple):
    """What a MIDI file says of notes and time.

    Attributes:
        ticks_per_quarter: at least 1.
        events: by tick, those of a tick in the order of the file.
        tempos: (tick, microseconds of a quarter note) by tick; 0 for a tempo that cannot be read.
        end_tick: where the last track ends.
        damage: what was wrong with the file and did not keep it from being read, and how often.
    """

    ticks_per_quarter: int
    events: list[Event]
    tempos: list[tuple[int, int]]
    end_tick: int
    damage: dict[str, int]


def read_midi_file(path: str | os.PathLike) -> MidiEvents:
    """Reads a MIDI file of at most 1 MB, whatever its bytes are.

    Raises:
        UserError: as for ``read_midi_bytes`` and ``parse_midi``; it tells the path.
    """
    content = read_midi_bytes(path)
    try:
        return parse_midi(content)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def read_midi_bytes(path: str | os.PathLike) -> bytes:
    """What is in a file.

    Raises:
        UserError: it cannot be read, is no regular file, or has more than 1 MB.
    """
    with open_data_file(os.path.expanduser(path)) as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise UserError(f"{path} is larger than {MAX_FILE_BYTES:,} bytes, too large for MIDI.")
    return content


def parse_midi(content: bytes) -> MidiEvents:
    """The events of the bytes of a MIDI file, also of one that is wrapped in RIFF.

    A piece is read if its notes can be: bytes above 127 where data are, meta events of any length,
    chunks of other kinds, wrong lengths of tracks and numbers of them, status bytes without a
    meaning and tracks that are cut short are stepped over and counted.

    Raises:
        UserError: it is no MIDI, of type 2 or above, has no musical time or no track, a track
            starts in the middle of an event, or a time or a number in it does not end.
    """
    reader = _Reader(content)
    num_tracks, ticks_per_quarter = reader.read_header()
    reader.read_chunks()
    if not reader.num_tracks:
        raise UserError("It has no track.")
    reader.count("wrong number of tracks", reader.num_tracks != num_tracks)
    events = sorted(reader.events, key=lambda event: event.tick)
    tempos = sorted(reader.tempos, key=lambda tempo: tempo[0])
    return MidiEvents(ticks_per_quarter, events, tempos, reader.end_tick, dict(reader.damage))


class _Reader:
    """Goes through the chunks of a file and keeps what its tracks say."""

    def __init__(self, content: bytes) -> None:
        self.events: list[Event] = []
        self.tempos: list[tuple[int, int]] = []
        self.end_tick = self.num_tracks = 0
        self.damage: collections.Counter[str] = collections.Counter()
        self._content = content
        self._position = 0

    def count(self, damage: str, number: int = 1) -> None:
        """Notes damage, if there is some."""
        if number:
            self.damage[damage] += number

    def read_header(self) -> tuple[int, int]:
        """Returns the number of tracks that it tells, and the ticks of a quarter note."""
        self._unwrap()
        try:
            fields = struct.unpack_from(">4xLHHh", self._content, self._position)
        except struct.error as error:
            raise UserError("It ends in its header: it is not a whole MIDI file.") from error
        length, kind, num_tracks, division = fields
        _check_header(kind, division)
        end = self._position + 8 + length
        is_likely = self._is_chunk(end)
        self._position = end if is_likely else self._position + _HEADER_BYTES
        self.count("wrong header length", not is_likely and length != 6)
        return num_tracks, division

    def _unwrap(self) -> None:
        """Finds the header; in RIFF, what comes after the chunk with the MIDI file is no MIDI."""
        start = self._content.find(b"MThd")
        if start < 0:
            raise UserError("It is not a MIDI file: it has no header (MThd).")
        self._position = start
        if self._content[:4] != b"RIFF" or self._content[:start][-8:-4] != b"data":
            self.count("byte before the header", start)
            return
        end = start + int.from_bytes(self._content[start - 4 : start], "little")
        if start + _HEADER_BYTES <= end <= len(self._content):
            self._content = self._content[:end]
        else:
            self.count("wrong RIFF length")

    def read_chunks(self) -> None:
        """Reads every track; what is neither a track nor another chunk is left out."""
        while self._position < len(self._content):
            if self._content.startswith(b"MTrk", self._position):
                self._read_track()
            elif self._content.startswith(b"MThd", self._position):
                self.count("second MIDI file")
                return
            elif self._is_chunk(self._position):
                self.count("foreign chunk")
                self._position = self._chunk_end(self._position)
            else:
                end = self._next_track(self._position)
                self.count("byte outside of chunks", end - self._position)
                self._position = end

    def _read_track(self) -> None:
        start, claimed = self._position + 8, self._chunk_end(self._position)
        is_likely = self._is_chunk(claimed) or claimed == len(self._content)
        limit = claimed if is_likely else self._next_track(start)
        track = _TrackReader(self, memoryview(self._content)[start:limit], self.num_tracks)
        stop = start + track.read()
        self.count("wrong track length", stop != claimed)
        is_next = not is_likely or self._content.startswith(b"MTrk", stop)
        self._position = stop if is_next else claimed
        self.num_tracks += 1
        self.end_tick = max(self.end_tick, track.tick)

    def _chunk_end(self, position: int) -> int:
        """Where the chunk ends, by what it says of itself."""
        return position + 8 + int.from_bytes(self._content[position + 4 : position + 8])

    def _next_track(self, position: int) -> int:
        found = self._content.find(b"MTrk", position)
        return len(self._content) if found < 0 else found

    def _is_chunk(self, position: int) -> bool:
        """Whether there is the start of a track, or a whole chunk with a name."""
        name = self._content[position : position + 4]
        is_name = len(name) == 4 and all(32 <= byte < 127 for byte in name)
        return name == b"MTrk" or (is_name and self._chunk_end(position) <= len(self._content))


def _check_header(kind: int, division: int) -> None:
    if kind not in (0, 1):
        raise UserError(f"MIDI type {kind} is not supported; save it as type 0 or 1.")
    if division == 0:
        raise UserError("Its time division is 0, so that no note has a length; save it again.")
    if division < 0:
        raise UserError("The MIDI file counts film frames (SMPTE), not beats; save it with beats.")


class _TrackReader:
    """Reads the events of a track, and tells the reader of the file about them."""

    def __init__(self, file: _Reader, data: memoryview, number: int) -> None:
        self.tick = 0
        self._file, self._data, self._number = file, data, number
        self._position = self._status = 0

    def read(self) -> int:
        """Returns where the track ends, in its data."""
        try:
            while self._position < len(self._data):
                self._read_time()
                if self._read_event():
                    return self._position
            self._file.count("track without an end")
        except IndexError:
            self._file.count("track cut short")
        return len(self._data)

    def _read_time(self) -> None:
        self.tick += self._read_number()
        if self.tick > _MAX_TICKS:
            raise UserError("The MIDI file lasts for ages: a time in it is damaged.")

    def _read_event(self) -> bool:
        """Returns whether it is the one that ends the track."""
        status = self._data[self._position]
        if status == 0xFF:
            return self._read_meta()
        if status < 0xF0:
            self._read_channel_event(status)
        elif status in (0xF0, 0xF7):
            self._position += 1
            self._skip(self._read_number())
        else:
            self._file.count("unknown status byte")
            self._skip(1 + _SYSTEM_DATA.get(status, 0))
        return False

    def _read_channel_event(self, status: int) -> None:
        if status >= 0x80:
            self._status = status
            self._position += 1
        elif not self._status:
            raise UserError(f"Its track {self._number + 1} starts in the middle of an event.")
        kind, channel = self._status & 0xF0, self._status & 0x0F
        data = self._skip(1 if kind in (0xC0, 0xD0) else 2)
        self._file.count("data byte above 127", sum(byte > 127 for byte in data))
        if kind in (NOTE_OFF, NOTE_ON) or (kind == CONTROL and data[0] in _CONTROLS):
            self._file.events.append(Event(self.tick, self._number, kind, channel, *data))

    def _read_meta(self) -> bool:
        kind = self._skip(2)[1]
        data = self._skip(self._read_number())
        self._file.count("damaged meta event", _is_damaged(kind, data))
        if kind == _TEMPO:
            tempo = int.from_bytes(data) if len(data) == 3 else 0
            self._file.tempos.append((self.tick, tempo))
        return kind == _END_OF_TRACK

    def _read_number(self) -> int:
        number = 0
        for _ in range(_MAX_NUMBER_BYTES):
            byte = self._data[self._position]
            self._position += 1
            number = number << 7 | byte & 0x7F
            if byte < 0x80:
                return number
        raise UserError("A number in it does not end: it is not a whole MIDI file.")

    def _skip(self, count: int) -> memoryview:
        start, self._position = self._position, self._position + count
        if self._position > len(self._data):
            raise IndexError
        return self._data[start : self._position]


def _is_damaged(kind: int, data: memoryview) -> bool:
    if kind == _TEMPO and not any(data):
        return True
    if kind == _KEY_SIGNATURE and len(data) == 2:
        return not (-7 <= int.from_bytes(data[:1], signed=True) <= 7 and data[1] <= 1)
    return len(data) != _META_LENGTHS.get(kind, len(data))
