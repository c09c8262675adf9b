import io
import os
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlf_jax.data.music.midi_events import (
    CONTROL,
    MAX_FILE_BYTES,
    NOTE_OFF,
    NOTE_ON,
    Event,
    parse_midi,
    read_midi_file,
)
from nlf_jax.data.music.midi_notes import read_notes
from nlf_jax.data.music.midi_roll import midi_to_roll
from nlf_jax.errors import UserError
from tests.data.music.midi_bytes import (
    END,
    at,
    chunk,
    control,
    header,
    meta,
    number,
    off,
    on,
    piece,
    track,
)

NOTE, LATE = on(0) + off(480), on(480) + off(480)
TWO = [(0, 480, 60), (480, 960, 60)]


def notes_of(content):
    notes = read_notes(parse_midi(content))
    return sorted(zip(notes.start.tolist(), notes.end.tolist(), notes.pitch.tolist(), strict=True))


def riff(content, rest=b"", length=None):
    size = len(content) if length is None else length
    data = b"RMIDdata" + struct.pack("<L", size) + content + rest
    return b"RIFF" + struct.pack("<L", len(data)) + data


DAMAGED = {
    "controller": (piece([control(0, 7, 255), NOTE, NOTE]), {"data byte above 127": 1}),
    "velocity": (piece([on(0, velocity=255), off(480), NOTE]), {"data byte above 127": 1}),
    "pitch": (piece([on(0, 200), off(0, 200), NOTE, NOTE]), {"data byte above 127": 2}),
    "program": (piece([at(0, 0xC0, 0x80), NOTE, NOTE]), {"data byte above 127": 1}),
    "eight flats": (piece([meta(0x59, 0xF8, 0), NOTE, NOTE]), {"damaged meta event": 1}),
    "third mode": (piece([meta(0x59, 0, 2), NOTE, NOTE]), {"damaged meta event": 1}),
    "short time signature": (piece([meta(0x58, 4, 2), NOTE, NOTE]), {"damaged meta event": 1}),
    "long channel prefix": (piece([meta(0x20, 1, 2, 3), NOTE, NOTE]), {"damaged meta event": 1}),
    "tempo": (piece([meta(0x51, 7), NOTE, NOTE]), {"damaged meta event": 1}),
    "no tempo": (piece([meta(0x51, 0, 0, 0), NOTE, NOTE]), {"damaged meta event": 1}),
    "chunk before": (header() + chunk(b"XFIH", b"ab") + track(NOTE, NOTE), {"foreign chunk": 1}),
    "chunk between": (
        header(tracks=2) + track(NOTE) + chunk(b"junk", b"MTrk") + track(LATE, end=b""),
        {"foreign chunk": 1, "track without an end": 1},
    ),
    "chunk after": (piece([NOTE, NOTE]) + chunk(b"XFKM", bytes(9)), {"foreign chunk": 1}),
    "junk after": (piece([NOTE, NOTE]) + bytes(9), {"byte outside of chunks": 9}),
    "chunk cut short": (
        piece([NOTE, NOTE]) + chunk(b"XFKM", b"abc", length=4),
        {"byte outside of chunks": 11},
    ),
    "too few tracks": (
        header(tracks=2) + track(NOTE, NOTE),
        {"wrong number of tracks": 1},
    ),
    "too many tracks": (
        header(tracks=1) + track(NOTE) + track(LATE),
        {"wrong number of tracks": 1},
    ),
    "undefined status": (piece([NOTE, at(0, 0xF4), NOTE]), {"unknown status byte": 1}),
    "song position": (piece([NOTE, at(0, 0xF2, 1, 2), NOTE]), {"unknown status byte": 1}),
    "clock": (piece([NOTE, at(0, 0xF8), NOTE]), {"unknown status byte": 1}),
    "no end": (header() + track(NOTE, NOTE, end=b""), {"track without an end": 1}),
    "cut in an event": (
        header() + track(NOTE, NOTE, on(9), end=b"")[:-1],
        {"track cut short": 1, "wrong track length": 1},
    ),
    "cut in a time": (
        header() + track(NOTE, NOTE, on(999), end=b"")[:-4],
        {"track cut short": 1, "wrong track length": 1},
    ),
    "cut in a text": (
        piece([NOTE, NOTE, meta(1, *b"text")])[:-6],
        {"track cut short": 1, "wrong track length": 1},
    ),
    "long track": (
        header(tracks=2) + track(NOTE, length=19) + track(LATE),
        {"wrong track length": 1},
    ),
    "track that takes in the next": (
        header(tracks=2) + track(NOTE, length=len(NOTE + END + track(LATE))) + track(LATE),
        {"wrong track length": 1},
    ),
    "short track": (header() + track(NOTE, NOTE, length=7), {"wrong track length": 1}),
    "empty length": (
        header(tracks=2) + track(NOTE, length=0) + track(LATE),
        {"wrong track length": 1},
    ),
    "after the end": (header() + track(NOTE, NOTE, END, on(0)), {"wrong track length": 1}),
    "long header": (header(extra=b"ab") + track(NOTE, NOTE), {}),
    "wrong header length": (
        header().replace(b"\x00\x06", b"\x00\x60", 1) + track(NOTE, NOTE),
        {"wrong header length": 1},
    ),
    "bytes before": (b"mail\n" + piece([NOTE, NOTE]), {"byte before the header": 5}),
    "another file": (piece([NOTE, NOTE]) + piece([on(0, 30), off(9, 30)]), {"second MIDI file": 1}),
    "RIFF": (riff(piece([NOTE, NOTE])), {}),
    "RIFF with more": (riff(piece([NOTE, NOTE]), b"LIST\x04\x00\x00\x00INFO"), {}),
    "RIFF, no length": (riff(piece([NOTE, NOTE]), length=0), {"wrong RIFF length": 1}),
}  # fmt: skip


@pytest.mark.parametrize(("content", "damage"), DAMAGED.values(), ids=DAMAGED)
def test_damage_that_leaves_the_notes_is_counted(content, damage):
    assert parse_midi(content).damage == damage
    assert notes_of(content) == TWO


def test_damage_is_added_up():
    events = [control(0, 7, 255), meta(0x59, 9, 9), NOTE, at(0, 0xF5), control(0, 200, 200)]
    assert parse_midi(piece(events, events)).damage == {
        "data byte above 127": 6, "damaged meta event": 2, "unknown status byte": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a MIDI file"),
        (b"RIFF" + bytes(100), "not a MIDI file"),
        (b"MThd", "ends in its header"),
        (header()[:-1], "ends in its header"),
        (header(), "no track"),
        (header() + b"MTr", "no track"),
        (piece([NOTE], kind=2), "MIDI type 2 is not supported"),
        (piece([NOTE], kind=0xFFFF), "MIDI type 65535 is not supported"),
        (piece([NOTE], division=0), "time division is 0"),
        (piece([NOTE], division=-6400), "SMPTE"),
        (piece([NOTE], [at(0, 60, 64)]), "track 2 starts in the middle of an event"),
        (piece([b"\xff" * 500_000]), "number in it does not end"),
        (piece([at(0, 0xFF, 1), b"\xff" * 9]), "number in it does not end"),
        (piece([NOTE, on(2**40)]), "lasts for ages"),
    ],
)
def test_refused_files_say_why(content, message, tmp_path):
    path = tmp_path / "a.mid"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.mid: .*{message}"):
        read_midi_file(path)


def test_only_frames_of_seconds_need_a_tempo():
    midi = parse_midi(piece([meta(0x51, 1, 2), NOTE]))
    assert midi_to_roll(midi, frames_per_quarter=2)[:, 39].tolist() == [True, True]
    with pytest.raises(UserError, match="tempo in it cannot be read"):
        midi_to_roll(midi, frame_seconds=0.1)


def test_unreadable_paths_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.mid")
    (tmp_path / "large.mid").write_bytes(bytes(MAX_FILE_BYTES + 1))
    with pytest.raises(UserError, match="larger than 1,000,000 bytes"):
        read_midi_file(tmp_path / "large.mid")
    for path in ("pipe.mid", "nowhere.mid", ".", "/dev/zero"):
        with pytest.raises(UserError, match="Cannot read"):
            read_midi_file(tmp_path / path)


def test_tilde_is_a_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.mid").write_bytes(piece([NOTE]))
    assert len(read_midi_file("~/a.mid").events) == 2


deltas = st.one_of(st.integers(0, 3), st.integers(0, 2**20))
channels, values = st.integers(0, 15), st.integers(0, 127)


@st.composite
def messages(draw, mido):
    """Any message that a file may have."""
    kind = draw(st.sampled_from([
        "note_on", "note_on", "note_off", "control_change", "program_change", "pitchwheel",
        "aftertouch", "polytouch", "sysex", "text", "set_tempo", "time_signature",
        "key_signature", "sequencer_specific", "lyrics", "unknown_meta",
    ]))  # fmt: skip
    delta, channel = draw(deltas), draw(channels)
    a, b = draw(values), draw(values)
    of_channel = {
        "note_on": {"note": a, "velocity": b}, "note_off": {"note": a, "velocity": b},
        "control_change": {"control": a, "value": b}, "program_change": {"program": a},
        "pitchwheel": {"pitch": 64 * a}, "aftertouch": {"value": a},
        "polytouch": {"note": a, "value": b},
    }  # fmt: skip
    if kind in of_channel:
        return mido.Message(kind, channel=channel, time=delta, **of_channel[kind])
    if kind == "sysex":
        return mido.Message(kind, data=[a] * b, time=delta)
    of_piece = {
        "text": {"text": "MTrk"}, "lyrics": {"text": "x" * (2 * b)},
        "set_tempo": {"tempo": 1 + a * b * 1000},
        "time_signature": {"numerator": 1 + a, "denominator": 8}, "key_signature": {"key": "Cb"},
        "sequencer_specific": {"data": (a, 255)},
    }  # fmt: skip
    if kind == "unknown_meta":
        # mido forgets the time of these on reading.
        return mido.UnknownMetaMessage(0x60, data=[255] * b)
    return mido.MetaMessage(kind, time=delta, **of_piece[kind])


def events_by_mido(file):
    """The events, tempos and last tick that mido reads."""
    kinds = {"note_on": NOTE_ON, "note_off": NOTE_OFF, "control_change": CONTROL}
    events, tempos, ends = [], [], []
    for number_, track_ in enumerate(file.tracks):
        ticks = np.cumsum([message.time for message in track_]).tolist()
        for tick, message in zip(ticks, track_, strict=True):
            if message.type in kinds:
                _, first, second = message.bytes()
                kind = kinds[message.type]
                if kind != CONTROL or first in (64, 120, 121) or first >= 123:
                    events.append(Event(tick, number_, kind, message.channel, first, second))
            elif message.type == "set_tempo":
                tempos.append((tick, message.tempo))
        ends.append(ticks[-1])
    by_tick = lambda pair: pair[0]  # noqa: E731
    return sorted(events, key=by_tick), sorted(tempos, key=by_tick), max(ends)


@settings(deadline=None, max_examples=100)
@given(data=st.data(), kind=st.integers(0, 1), ticks=st.integers(1, 2**15 - 1))
def test_whole_files_are_read_as_by_mido(data, kind, ticks):
    mido = pytest.importorskip("mido")
    several = {"min_size": 1, "max_size": 1 + 2 * kind}
    tracks = data.draw(st.lists(st.lists(messages(mido), max_size=20), **several))
    written = mido.MidiFile(
        type=kind, ticks_per_beat=ticks, tracks=list(map(mido.MidiTrack, tracks))
    )
    buffer = io.BytesIO()
    written.save(file=buffer)
    midi = parse_midi(buffer.getvalue())
    read_again = mido.MidiFile(file=io.BytesIO(buffer.getvalue()))
    assert midi.damage == {}
    assert midi.ticks_per_quarter == ticks
    assert (midi.events, midi.tempos, midi.end_tick) == events_by_mido(read_again)


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_damaged_bytes_give_a_roll_or_a_clear_error(data):
    pitches = [*range(50, 90, 2)]
    content = bytearray(piece([on(0, p) + off(120, p) for p in pitches], [meta(0x51, 7, 7, 7)]))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        roll = midi_to_roll(parse_midi(bytes(content[: data.draw(st.integers(0, len(content)))])))
    except UserError:
        return
    assert roll.dtype == np.bool_
    assert roll.shape[1] == 88


@given(value=st.integers(0, 2**40 - 1))
def test_numbers_of_any_length_are_read(value):
    assert parse_midi(header() + track(number(value) + END[1:], end=b"")).end_tick == value
