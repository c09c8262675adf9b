import collections

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlf_jax.data.music.midi_events import CONTROL, NOTE_OFF, NOTE_ON, Event, MidiEvents, parse_midi
from nlf_jax.data.music.midi_notes import read_notes
from tests.data.music.midi_bytes import control, meta, off, on, piece


def notes_of(*tracks):
    """(start, end, pitch) of the notes, in order, and what is left out."""
    notes = read_notes(parse_midi(piece(*tracks)))
    found = zip(notes.start.tolist(), notes.end.tolist(), notes.pitch.tolist(), strict=True)
    return sorted(found), notes.left_out


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([on(0), on(240), off(240), off(480)], [(0, 480), (240, 480)]),  # one end for both
        ([on(0), on(240), off(0), off(480)], [(0, 240), (240, 720)]),  # the new note comes first
        ([on(0), on(480, velocity=0)], [(0, 480)]),
        ([off(0), on(240), off(240), off(240)], [(240, 480)]),  # ends without a note
    ],
)
def test_overlapping_and_stray_notes(events, expected):
    found, _ = notes_of(events)
    assert [(start, end) for start, end, _ in found] == expected


def test_a_key_of_another_track_or_channel_ends_nothing():
    found, left_out = notes_of([on(0), off(480), on(0, channel=1)], [off(100), off(0, channel=1)])
    assert found == [(0, 480, 60)]
    assert left_out == {"without an end": 1}


def test_what_is_left_out_is_counted():
    found, left_out = notes_of([
        on(0, 20), off(9, 20), on(0, 109), off(0, 109), on(1, channel=9), off(89, channel=9),
        on(1, 61), off(0, 61), on(0, 62), on(10, 63), off(10, 63),
    ])  # fmt: skip
    assert found == [(110, 120, 63)]
    assert left_out == {
        "out of range": 2, "drums": 1, "without a length": 1, "without an end": 1,
    }  # fmt: skip


down, up = control(0, 64, 127), control(480, 64, 0)
PEDAL = {
    "held until it comes up": ([down, on(0), off(480), control(960, 64)], [(0, 1440, 60)]),
    "half down is down": ([control(0, 64, 64), on(0), off(480), up], [(0, 960, 60)]),
    "nearly half is up": ([control(0, 64, 63), on(0), off(480), up], [(0, 480, 60)]),
    "above 127 is down": ([control(0, 64, 255), on(0), off(480), up], [(0, 960, 60)]),
    "pressed too late": ([on(0), off(480), down, up], [(0, 480, 60)]),
    "pressed while the key is down": ([on(0), down, off(480), up], [(0, 960, 60)]),
    "up before the key": ([down, on(0), up, off(480)], [(0, 960, 60)]),
    "another channel": ([control(0, 64, 127, channel=1), on(0), off(480), up], [(0, 480, 60)]),
    "never up: to the end": ([down, on(0), off(480), on(0, 62), off(480, 62)],
                             [(0, 960, 60), (480, 960, 62)]),
    "struck again": ([down, on(0), off(240), on(240), off(240), up],
                     [(0, 1200, 60), (480, 1200, 60)]),
    "no length but by the pedal": ([down, on(0), off(0), up], [(0, 480, 60)]),
    "reset": ([down, on(0), off(480), control(100, 121), on(0, 62), off(10, 62)],
              [(0, 580, 60), (580, 590, 62)]),
    "all notes off": ([on(0), on(0, 62), control(480, 123)], [(0, 480, 60), (0, 480, 62)]),
    "all notes off, pedal down": ([down, on(0), control(480, 123), up], [(0, 960, 60)]),
    "all sound off": ([on(0), control(480, 120)], [(0, 480, 60)]),
    "all sound off, pedal down": ([down, on(0), off(240), on(0, 62), control(240, 120), up],
                                  [(0, 480, 60), (240, 480, 62)]),
    "mono": ([on(0), control(480, 126)], [(0, 480, 60)]),
    "other controllers": ([on(0), control(10, 122), control(10, 66, 127), off(480), up],
                          [(0, 500, 60)]),
    "notes off in another channel": ([on(0), control(100, 123, channel=3), off(380)],
                                     [(0, 480, 60)]),
    "note off after all notes off": ([on(0), control(100, 123), off(380)], [(0, 100, 60)]),
    "started here": ([on(0), on(480, 62), control(0, 123), control(0, 123), off(9, 62)],
                     [(0, 480, 60), (480, 489, 62)]),
}  # fmt: skip


@pytest.mark.parametrize(("events", "expected"), PEDAL.values(), ids=PEDAL)
def test_pedal_and_notes_off(events, expected):
    found, left_out = notes_of(events)
    assert found == expected
    assert left_out == {}


def test_a_channel_has_one_pedal_in_all_tracks():
    left = [on(0, 40), off(480, 40), meta(1)]
    right = [control(0, 64, 127), on(0, 70), off(240, 70), control(720, 64), control(0, 123)]
    assert notes_of(left, right)[0] == [(0, 960, 40), (0, 960, 70)]
    assert notes_of(right, left)[0] == [(0, 960, 40), (0, 960, 70)]


moments = st.lists(
    st.tuples(
        st.integers(1, 3),  # ticks after the one before
        st.sampled_from(["on", "off", "down", "up", "notes off", "sound off"]),
        st.integers(60, 62),
    ),
    max_size=40,
)


def sounding(moments_):
    """Which pitches sound at each tick, by what a pianist does."""
    keys, strings, pedal, ticks = set(), set(), False, []
    for delta, what, pitch in moments_:
        ticks += [set(strings)] * delta
        pedal = {"down": True, "up": False}.get(what, pedal)
        keys = keys | {pitch} if what == "on" else keys - {pitch} if what == "off" else keys
        keys = set() if what in ("notes off", "sound off") else keys
        strings = strings | keys if pedal and what != "sound off" else set(keys)
    return ticks


@settings(deadline=None, max_examples=100)
@given(moments_=moments)
def test_pedal_is_as_a_pianist_has_it(moments_):
    moments_ = [*moments_, (1, "sound off", 60), (1, "up", 60)]
    made = {"on": (NOTE_ON, 64), "off": (NOTE_OFF, 0), "down": (64, 127), "up": (64, 0)}
    made |= {"notes off": (123, 0), "sound off": (120, 0)}
    events, tick = [], 0
    for delta, what, pitch in moments_:
        tick += delta
        kind, value = made[what]
        is_note = what in ("on", "off")
        kind, which = (kind, pitch) if is_note else (CONTROL, kind)
        events.append(Event(tick, 0, kind, 0, which, value))
    notes = read_notes(MidiEvents(480, events, [], tick, {}))
    found = [
        {int(p) for s, e, p in zip(*notes[:3], strict=True) if s <= now < e} for now in range(tick)
    ]
    assert found == sounding(moments_)


def notes_by_mido(file):
    """Notes paired track by track in what mido reads, for files without pedal and the like."""
    notes, left_out = [], collections.Counter()
    for track in file.tracks:
        tick, keys = 0, collections.defaultdict(list)
        for message in track:
            tick += message.time
            if message.type not in ("note_on", "note_off"):
                continue
            key = message.channel, message.note
            if message.type == "note_on" and message.velocity:
                outside = not 21 <= message.note <= 108
                reason = "drums" if message.channel == 9 else "out of range" if outside else ""
                left_out.update([reason] if reason else [])
                keys[key] += [] if reason else [tick]
                continue
            ended = [start for start in keys[key] if start < tick]
            keys[key] = [start for start in keys[key] if start == tick]
            notes += [(start, tick, message.note) for start in ended]
            if not ended:
                left_out["without a length"] += len(keys.pop(key))
        left_out["without an end"] += sum(map(len, keys.values()))
    return sorted(notes), {reason: number for reason, number in left_out.items() if number}


strikes = st.lists(
    st.tuples(
        st.integers(0, 5), st.booleans(), st.sampled_from([0, 1, 9]),
        st.sampled_from([20, 21, 60, 61, 108, 109]), st.sampled_from([0, 64]),
    ),
    max_size=30,
)  # fmt: skip


@settings(deadline=None, max_examples=100)
@given(tracks=st.lists(strikes, min_size=1, max_size=3))
def test_notes_are_those_of_mido(tracks, tmp_path_factory):
    mido = pytest.importorskip("mido")
    content = piece(*[
        [on(t, n, channel=c, velocity=v) if is_on else off(t, n, channel=c)
         for t, is_on, c, n, v in track]
        for track in tracks
    ])  # fmt: skip
    path = tmp_path_factory.getbasetemp() / "strikes.mid"
    path.write_bytes(content)
    notes = read_notes(parse_midi(content))
    expected, left_out = notes_by_mido(mido.MidiFile(path))
    assert sorted(np.stack(notes[:3], 1).tolist()) == list(map(list, expected))
    assert notes.left_out == left_out
