import contextlib
import os
import sys

import numpy as np
import pytest

from nlf_jax.data.music.midi_folder import load_midi_folder
from nlf_jax.data.music.midi_roll import roll_to_midi
from nlf_jax.errors import UserError
from tests.data.music.midi_bytes import chunk, control, header, meta, off, on, track
from tests.data.music.midi_bytes import piece as midi_bytes

pytest.importorskip("mido")


def piece(seed, length=12):
    roll = np.random.default_rng(seed).random((length, 88)) < 0.1
    roll[[0, -1], 40] = True
    return roll


def write(path, roll, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    roll_to_midi(roll, **options).save(path)


@pytest.fixture
def folder(tmp_path):
    for seed in range(4):
        write(tmp_path / f"{seed}.mid", piece(seed), frames_per_quarter=4)
    return tmp_path


def contents(corpus):
    return {roll.tobytes() for rolls in corpus.splits.values() for roll in rolls}


def test_reads_folders_in_folders_whatever_the_case(folder):
    write(folder / "in" / "deep.MIDI", piece(7), frames_per_quarter=4)
    (folder / "notes.txt").write_text("no music")
    corpus, report = load_midi_folder(folder)
    assert contents(corpus) == {piece(seed).tobytes() for seed in (0, 1, 2, 3, 7)}
    assert list(report.read) == [
        "0.mid",
        "1.mid",
        "2.mid",
        "3.mid",
        os.path.join("in", "deep.MIDI"),
    ]
    assert not report.refused
    assert corpus.vocabulary is None
    assert corpus.max_length == 12


def test_split_depends_on_the_music_only(folder, tmp_path_factory):
    corpus, _ = load_midi_folder(folder)
    assert {split: len(rolls) for split, rolls in corpus.splits.items()} == {
        "train": 2, "valid": 1, "test": 1,
    }  # fmt: skip
    other = tmp_path_factory.mktemp("other")
    for seed in range(4):
        write(other / f"{9 - seed}.mid", piece(seed), frames_per_quarter=4)
    assert load_midi_folder(other)[0].fingerprint == corpus.fingerprint


def test_report_says_what_was_refused_and_why(folder):
    (folder / "broken.mid").write_bytes(b"MThd")
    (folder / "empty.mid").write_bytes(b"")
    write(folder / "silent.mid", np.zeros((8, 88), bool))
    write(folder / "same.mid", piece(0), frames_per_quarter=4)
    os.mkfifo(folder / "pipe.mid")
    corpus, report = load_midi_folder(folder)
    assert len(contents(corpus)) == 4
    assert "not a whole MIDI file" in report.refused["broken.mid"]
    assert "not a MIDI file" in report.refused["empty.mid"]
    assert "no notes" in report.refused["silent.mid"]
    assert "same music" in report.refused["same.mid"]
    assert "not a file" in report.refused["pipe.mid"]
    assert "Read 4 MIDI files, refused 5." in str(report)
    assert "12 frames" in str(report)


def test_report_says_what_was_damaged_where(folder):
    events = [on(0, 40), off(480, 40), control(0, 7, 200), on(0, 109), meta(0x59, 9, 0)]
    (folder / "sick.rmi").write_bytes(header(tracks=3) + chunk(b"XFIH", b"") + track(*events))
    (folder / "words.KAR").write_bytes(midi_bytes([on(0, 40), off(960, 40)]))
    corpus, report = load_midi_folder(folder)
    assert len(contents(corpus)) == 6
    damage = {
        "foreign chunk": 1, "data byte above 127": 1, "damaged meta event": 1,
        "wrong number of tracks": 1,
    }  # fmt: skip
    assert report.damaged == {"sick.rmi": damage}
    assert report.read["words.KAR"] == "8 frames, 1 notes"
    assert report.read["sick.rmi"] == (
        "4 frames, 1 notes; left out: 1 x out of range; damaged: 1 x foreign chunk, "
        "1 x data byte above 127, 1 x damaged meta event, 1 x wrong number of tracks"
    )
    assert str(report).startswith("Read 6 MIDI files (1 of them damaged), refused 0.\n")


def test_pieces_are_read_without_mido(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "mido", None)
    assert len(contents(load_midi_folder(folder)[0])) == 4


def test_hostile_names_are_shown_without_harm(folder):
    names = [b"\xff.mid", b"\xfe.mid", b"two\nlines.mid", b"\x1b[31mred.mid", b"\xe2\x80\xaelr.mid"]
    for name in names:
        (folder / os.fsdecode(name)).write_bytes(b"MThd")
    _, report = load_midi_folder(folder)
    assert set(report.refused) == {
        r"\udcff.mid", r"\udcfe.mid", r"two\nlines.mid", r"\x1b[31mred.mid", r"\u202elr.mid"
    }  # fmt: skip
    lines = str(report).encode().decode().split("\n")
    assert len(lines) == 1 + 4 + len(names)
    assert all(map(str.isprintable, lines))


def test_links_lead_to_files_but_not_into_folders(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write(elsewhere / "good.mid", piece(8), frames_per_quarter=4)
    targets = {"good.mid": elsewhere / "good.mid", "self.mid": "self.mid", "gone.mid": "gone"}
    targets |= {"zeros.mid": "/dev/zero", "up": folder, "elsewhere": elsewhere}
    for name, target in targets.items():
        (folder / name).symlink_to(target)
    corpus, report = load_midi_folder(folder)
    assert contents(corpus) == {piece(seed).tobytes() for seed in (0, 1, 2, 3, 8)}
    assert report.refused == dict.fromkeys(
        ["gone.mid", "self.mid", "zeros.mid"], "It is not a file."
    )


@pytest.fixture
def deep(folder, monkeypatch):
    """Puts 1,200 folders into each other, and removes them, which shutil cannot."""
    monkeypatch.chdir(folder)
    for _ in range(1200):
        os.mkdir("x")
        os.chdir("x")
    yield folder
    for _ in range(1200):
        os.chdir("..")
        os.rmdir("x")


def test_folders_in_each_other_without_end_are_no_crash(deep):
    """Python's walk through them is recursive up to 3.11."""
    is_recursive = sys.version_info < (3, 12)
    refusal = pytest.raises(UserError, match="folders in each other")
    with refusal if is_recursive else contextlib.nullcontext():
        assert len(contents(load_midi_folder(deep)[0])) == 4


def test_long_pieces_are_cut_into_equal_parts_of_one_split(folder):
    write(folder / "long.mid", piece(9, length=100), frames_per_quarter=4)
    corpus, _ = load_midi_folder(folder, max_length=30)
    (parts,) = [
        [roll for roll in rolls if len(roll) == 25]
        for rolls in corpus.splits.values()
        if any(len(roll) == 25 for roll in rolls)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), piece(9, length=100))
    assert corpus.max_length == 25


def test_silence_around_the_music_is_removed(folder):
    write(folder / "0.mid", np.pad(piece(0), ((5, 3), (0, 0))), frames_per_quarter=4)
    assert piece(0).tobytes() in contents(load_midi_folder(folder)[0])


def test_frames_can_last_a_time(folder):
    for seed in range(4):
        write(folder / f"{seed}.mid", piece(seed), frames_per_quarter=2, beats_per_minute=60)
    corpus, _ = load_midi_folder(folder, frame_seconds=0.5)
    assert contents(corpus) == {piece(seed).tobytes() for seed in range(4)}


def test_folder_without_enough_music_is_an_error(tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        load_midi_folder(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no files that end in \.mid"):
        load_midi_folder(tmp_path)
    write(tmp_path / "a.mid", piece(0))
    (tmp_path / "b.mid").write_bytes(b"no")
    with pytest.raises(UserError, match=r"has 1 pieces to use: add files.*instance b\.mid: "):
        load_midi_folder(tmp_path)


@pytest.mark.parametrize(
    "options", [{"frame_seconds": -1.0}, {"frames_per_quarter": 0}, {"max_length": 0}]
)
def test_wrong_options_are_refused_before_reading(options, folder):
    (name,) = options
    with pytest.raises(UserError, match=rf"^{name} must be"):
        load_midi_folder(folder, **options)
