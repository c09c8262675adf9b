import itertools
import sys

import numpy as np
import pytest

from nlf_jax.data.music import chorales
from nlf_jax.data.music.chorales import load_chorales, roll_of_score, split_of, title_key
from nlf_jax.errors import UserError

music21 = pytest.importorskip("music21")


@pytest.fixture(autouse=True)
def cache_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("NLF_CACHE_DIR", str(tmp_path))
    return tmp_path


def contents(corpus):
    return [roll for rolls in corpus.splits.values() for roll in rolls]


def test_converts_the_corpus_once(monkeypatch):
    """On the first four files: one of them has five parts."""
    paths = sorted(music21.corpus.getComposer("bach", fileExtensions=("mxl",)))[:4]
    monkeypatch.setattr(music21.corpus, "getComposer", lambda *_, **__: list(paths))
    corpus = load_chorales()
    assert len(contents(corpus)) == 3
    assert {(roll.dtype, roll.shape[1]) for roll in contents(corpus)} == {(np.dtype(bool), 88)}
    assert corpus.max_length == max(map(len, contents(corpus)))
    monkeypatch.setattr(chorales, "_convert_corpus", None)
    assert load_chorales().fingerprint == corpus.fingerprint


@pytest.mark.parametrize("kept_bytes", [2, 200])
def test_damaged_cache_is_converted_anew(kept_bytes, cache_dir, monkeypatch):
    pieces = [(f"Title {i}", np.random.default_rng(i).random((9 + i, 88)) < 0.1) for i in range(9)]
    conversions = []
    monkeypatch.setattr(
        chorales, "_convert_corpus", lambda module: conversions.append(module) or pieces
    )
    fingerprint = load_chorales().fingerprint
    (path,) = cache_dir.glob("chorales/*.npz")
    path.write_bytes(path.read_bytes()[:kept_bytes])
    assert load_chorales().fingerprint == load_chorales().fingerprint == fingerprint
    assert len(conversions) == 2


def test_frames_of_a_chorale_hold_the_notes_of_the_score():
    """Against the definition, note by note."""
    score = music21.corpus.parse("bach/bwv66.6", forceSource=True)
    roll = roll_of_score(score)
    assert len(roll) == 2 * score.highestTime
    for frame in (0, 1, 2, 9, 40):
        expected = {
            pitch.midi
            for note in score.flatten().notes
            if note.offset <= frame / 2 < note.offset + note.quarterLength
            for pitch in note.pitches
        }
        assert set(np.flatnonzero(roll[frame]) + 21) == expected


def score_of(*notes):
    stream = music21.stream.Score()
    part = music21.stream.Part()
    for offset, pitch, quarters in notes:
        part.insert(offset, music21.note.Note(pitch, quarterLength=quarters))
    stream.insert(0, part)
    return stream


def test_frame_holds_what_sounds_at_its_start():
    roll = roll_of_score(score_of((0, 60, 1), (1, 62, 0.25), (1.25, 64, 0.25), (1.5, 65, 1.5)))
    frames, keys = np.nonzero(roll)
    assert (frames.tolist(), (keys + 21).tolist()) == ([0, 1, 2, 3, 4, 5], [60, 60, 62, 65, 65, 65])


def test_triplets_lose_no_frame_to_rounding():
    thirds = [(i * music21.common.opFrac(1 / 3), 60 + i, 1 / 3) for i in range(6)]
    frames, keys = np.nonzero(roll_of_score(score_of(*thirds)))
    assert (frames.tolist(), (keys + 21).tolist()) == ([0, 1, 2, 3], [60, 61, 63, 64])


def test_note_off_the_piano_is_refused():
    with pytest.raises(UserError, match="not on the piano"):
        roll_of_score(score_of((0, 20, 1)))


def test_split_is_fixed_by_the_title_alone():
    titles = [f"Title {i}" for i in range(2000)]
    shares = {s: sum(split_of(t) == s for t in titles) / 2000 for s in ("train", "valid", "test")}
    assert shares["train"] == pytest.approx(0.8, abs=0.04)
    assert shares["valid"] == pytest.approx(0.1, abs=0.03)
    assert split_of("O Haupt voll Blut und Wunden") == "test"
    assert split_of("Aus meines Herzens Grunde") == "train"


def test_spelling_of_a_title_does_not_matter():
    spellings = ["Wer weiß, wie nahe mir’s", "WER WEISS WIE NAHE MIRS", "Wer weiss; wie nahe mir's"]
    assert {title_key(title) for title in spellings} == {"werweisswienahemirs"}
    assert title_key("läßt") == title_key("la\u0308sst")


def test_repeated_pieces_are_left_out_transposed_or_not():
    roll = np.zeros((6, 88), np.bool_)
    roll[::2, [30, 41]] = True
    other = roll.copy()
    other[1, 35] = True
    pieces = list(itertools.product(["A", "B"], [roll, np.roll(roll, 3, axis=1), other]))
    kept = chorales._without_repeats(pieces)
    assert [title for title, _ in kept] == ["A", "A"]
    assert [kept[0][1] is roll, kept[1][1] is other] == [True, True]


def test_missing_package_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "music21", None)
    with pytest.raises(UserError, match=r'pip install "nlf_jax\[music\]"'):
        load_chorales()
