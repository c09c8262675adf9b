import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nlf_jax.data.music.midi_events import read_midi_file
from nlf_jax.data.music.midi_notes import read_notes
from nlf_jax.data.music.midi_roll import midi_to_roll, roll_to_midi
from nlf_jax.errors import UserError

mido = pytest.importorskip("mido")
TICKS = 480

rolls = st.integers(0, 12).flatmap(lambda length: arrays(np.bool_, (length, 88)))


def midi_of(*tracks, **header):
    """A MIDI file of messages given as (type, tick, values)."""
    file = mido.MidiFile(**{"type": 1, "ticks_per_beat": TICKS} | header)
    for events in tracks:
        tick, track = 0, mido.MidiTrack()
        for kind, at, values in events:
            message = mido.MetaMessage if kind in ("set_tempo", "end_of_track") else mido.Message
            track.append(message(kind, time=at - tick, **values))
            tick = at
        file.tracks.append(track)
    return file


def on(tick, pitch=60, channel=0, velocity=64):
    return "note_on", tick, {"note": pitch, "channel": channel, "velocity": velocity}


def off(tick, pitch=60, channel=0):
    return "note_off", tick, {"note": pitch, "channel": channel}


def tempo(tick, microseconds):
    return "set_tempo", tick, {"tempo": microseconds}


def runs(midi, pitch=60, **options):
    """The frames in which a pitch sounds."""
    return np.flatnonzero(midi_to_roll(midi, **options)[:, pitch - 21]).tolist()


def written(midi, path):
    midi.save(path)
    return read_midi_file(path)


@settings(deadline=None, max_examples=60)
@given(roll=rolls, frames_per_quarter=st.integers(1, 64), bpm=st.floats(4, 1000))
def test_round_trip_through_a_file_is_exact(roll, frames_per_quarter, bpm, tmp_path_factory):
    midi = roll_to_midi(roll, frames_per_quarter=frames_per_quarter, beats_per_minute=bpm)
    again = written(midi, tmp_path_factory.getbasetemp() / "round_trip.mid")
    np.testing.assert_array_equal(midi_to_roll(again, frames_per_quarter=frames_per_quarter), roll)


@settings(deadline=None, max_examples=30)
@given(roll=rolls, frames_per_quarter=st.integers(1, 12), bpm=st.sampled_from([60.0, 75.0, 120.0]))
def test_round_trip_in_seconds_is_exact(roll, frames_per_quarter, bpm):
    midi = roll_to_midi(roll, frames_per_quarter=frames_per_quarter, beats_per_minute=bpm)
    seconds = 60 / bpm / frames_per_quarter
    np.testing.assert_array_equal(midi_to_roll(midi, frame_seconds=seconds), roll)


def test_key_in_consecutive_frames_is_one_held_note(tmp_path):
    roll = np.zeros((5, 88), np.bool_)
    roll[[1, 2, 4], 39] = True
    notes = read_notes(written(roll_to_midi(roll, frames_per_quarter=1), tmp_path / "a.mid"))
    assert notes.pitch.tolist() == [60, 60]
    assert (notes.start // 120).tolist() == [1, 4]
    assert (notes.end // 120).tolist() == [3, 5]
    assert notes.end_tick == 5 * 120


def test_notes_are_rounded_to_the_nearest_frame_and_kept():
    events = [on(110), off(130), on(130, 62), off(361, 62), on(600, 64), off(601, 64)]
    midi = midi_of(events)
    assert runs(midi, 60) == [0]
    assert runs(midi, 62) == [1]
    assert runs(midi, 64) == [3]


def test_all_tracks_and_channels_sound_together():
    midi = midi_of(
        [on(0), off(240)], [on(0, 70), on(240, channel=1), off(480, channel=1), off(480, 70)]
    )
    assert runs(midi) == [0, 1]
    assert midi_to_roll(midi)[:, 70 - 21].all()


def test_tempo_changes_in_any_track_are_obeyed_in_seconds():
    # 0.5 s, then a quarter note of 1 s, then one of 0.25 s, and 0.25 s for each after that.
    music = [on(0), off(480), on(480, 61), off(960, 61), on(960, 62), off(1920, 62)]
    midi = midi_of([tempo(960, 250_000)], music, [tempo(480, 1_000_000)])
    assert runs(midi, 60, frame_seconds=0.25) == [0, 1]
    assert runs(midi, 61, frame_seconds=0.25) == [2, 3, 4, 5]
    assert runs(midi, 62, frame_seconds=0.25) == [6, 7]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: midi_of([on(0), off(1)], type=2), "type 2"),
        (lambda: midi_of([on(0), off(1)], ticks_per_beat=-6400), "SMPTE"),
        (lambda: midi_of([on(0), off(0.5)]), "cannot be a file"),
        (lambda: midi_of([on(0), off(2**28 - 1)]), "more than 100,000"),
        (lambda: midi_of([("end_of_track", 2**28 - 1, {})]), "more than 100,000"),
        (lambda: midi_of([on(0), off(2**41)]), "damaged"),
    ],
    ids=["type", "film frames", "part of a tick", "long note", "long silence", "endless"],
)
@pytest.mark.parametrize("options", [{}, {"frame_seconds": 0.001}])
def test_refused_files(make, message, options):
    with pytest.raises(UserError, match=message):
        midi_to_roll(make(), **options)


@pytest.mark.parametrize(
    ("roll", "options", "message"),
    [
        (np.zeros((2, 89), bool), {}, r"shape \[2, 89\]"),
        (np.full((2, 88), 0.5), {}, "other than 0 and 1"),
        (np.zeros((2, 88), object), {}, "object values"),
        (np.zeros((2, 88), bool), {"frames_per_quarter": 0}, "whole number from 1 to 64"),
        (np.zeros((2, 88), bool), {"frames_per_quarter": 1.5}, "whole number from 1 to 64"),
        (np.zeros((2, 88), bool), {"frames_per_quarter": 2.0}, "whole number from 1 to 64"),
        (np.zeros((2, 88), bool), {"beats_per_minute": float("nan")}, "beats_per_minute"),
    ],
)
def test_refused_rolls_and_options(roll, options, message):
    with pytest.raises(UserError, match=message):
        roll_to_midi(roll, **options)


def test_refused_frame_lengths():
    for seconds in (0.0, 15.1):
        with pytest.raises(UserError, match=r"frame_seconds must be between 0.001 and 15, got"):
            midi_to_roll(midi_of([]), frame_seconds=seconds)
    with pytest.raises(UserError, match="frames_per_quarter"):
        midi_to_roll(midi_of([]), frames_per_quarter=65)
