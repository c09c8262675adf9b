import contextlib
import dataclasses

import numpy as np
import pytest

from nlf_jax import media
from nlf_jax.cli import drawing, options
from nlf_jax.cli.commands import main
from nlf_jax.cli.experiments import MIDI
from nlf_jax.data.corpus import Corpus
from nlf_jax.data.text.vocabulary import Vocabulary
from nlf_jax.mesh import make_mesh
from nlf_jax.training import workdir
from nlf_jax.training.loop import Trainer

LINES = ["abc", "bca", "cabb"] * 4
SMALL = {"embedding": 4, "hidden": 4, "latent": 2, "max_length": 8, "eval_batch_size": 2}
pytestmark = pytest.mark.usefixtures("quick_compilation")


def make_run(directory, corpus, model, **frame):
    """An untrained run in a directory, and how to use it: arguments -> exit code."""
    emission = "bernoulli" if frame else "categorical"
    config = options.get_config("letters", model, "tiny", **SMALL, emission=emission)
    description = workdir.describe("letters", config, corpus, frame=frame)
    workdir.claim(directory, description, corpus.vocabulary_json)
    Trainer(config, corpus, directory, make_mesh(1)).run(lambda: True)
    experiment = dataclasses.replace(MIDI, name="letters", load_corpus=lambda flags, _: corpus)

    def use(mode, *argv):
        return main(experiment, [f"--mode={mode}", f"--workdir={directory}", "--mesh=1", *argv])

    return use


@pytest.fixture(scope="module")
def text_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("text")


@pytest.fixture(scope="module")
def text_run(text_dir):
    vocabulary = Vocabulary(("a", "b", "c"))
    rows = [vocabulary.encode(line) for line in LINES]
    splits = {"train": rows, "valid": rows, "test": rows}
    corpus = Corpus.create("letters", splits, vocabulary=vocabulary, max_length=8)
    return make_run(text_dir, corpus, "af_nohidden")


@pytest.fixture(scope="module")
def roll():
    return np.random.default_rng(0).random((6, 88)) < 0.1


@pytest.fixture(scope="module")
def music_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("music")


@pytest.fixture(scope="module")
def rolls(roll):
    splits = {"train": [roll], "valid": [roll], "test": [roll]}
    return Corpus.create("notes", splits, vocabulary=None, max_length=8)


@pytest.fixture(scope="module")
def music_run(music_dir, rolls):
    return make_run(music_dir, rolls, "lstm", frames_per_quarter=3)


def newest(directory, kind, suffix):
    """The file <kind>-<number><suffix> of the highest number."""
    paths = (directory / "samples").glob(f"{kind}-*{suffix}")
    return max(paths, key=lambda path: int(path.stem.rpartition("-")[2]))


def lines_of(directory, kind):
    return newest(directory, kind, ".txt").read_text().splitlines()


def read_roll(path):
    return media.midi_to_roll(media.read_midi_file(path), frames_per_quarter=3)


def test_reconstruct_rows(text_run, text_dir, capsys):
    assert text_run("reconstruct", "--row=0", "--row=2") == 0
    assert lines_of(text_dir, "originals") == ["abc", "cabb"]
    rebuilt = lines_of(text_dir, "reconstructions")
    assert [len(line) for line in rebuilt] == [3, 4]
    same = sum(a == b for a, b in zip("".join(rebuilt), "abccabb", strict=True))
    assert f"{same} of 7 symbols are the same" in capsys.readouterr().out


def test_interpolate_texts(text_run, text_dir):
    assert text_run("interpolate", "--text=ab", "--text=cccccc", "--num_samples=3") == 0
    assert [len(line) for line in lines_of(text_dir, "interpolations")] == [2, 4, 6]


def test_continue_text(text_run, text_dir):
    arguments = ("--text=cab", "--prefix=2", "--num_samples=3", "--num_proposals=2", "--length=7")
    assert text_run("continue", *arguments) == 0
    assert lines_of(text_dir, "openings") == ["ca"]
    lines = lines_of(text_dir, "continuations")
    assert [line[:2] for line in lines] == ["ca"] * 3
    assert [len(line) for line in lines] == [7] * 3


def test_sample_music(music_run, music_dir, capsys):
    assert music_run("sample", "--num_samples=2", "--length=5") == 0
    for name in ("sample-1", "sample-2"):
        assert len(read_roll(music_dir / "samples" / f"{name}.mid")) == 5
        assert (music_dir / "samples" / f"{name}.wav").stat().st_size > 1000
        assert (music_dir / "samples" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert str(music_dir / "samples" / "sample-2.wav") in capsys.readouterr().out


def test_samples_are_numbered_and_never_overwritten(music_run, music_dir):
    before = {path: path.read_bytes() for path in (music_dir / "samples").glob("sample-*")}
    assert music_run("sample", "--num_samples=1", "--length=3", "--seed=5") == 0
    assert music_run("sample", "--num_samples=1", "--length=3", "--seed=5") == 0
    assert all(path.read_bytes() == content for path, content in before.items())
    same = newest(music_dir, "sample", ".mid")
    number = int(same.stem.rpartition("-")[2])
    assert same.read_bytes() == same.with_name(f"sample-{number - 1}.mid").read_bytes()


def test_two_that_draw_at_once_take_different_names(tmp_path, monkeypatch):
    """Both have seen the same files; a name whose file cannot be written is free again."""
    monkeypatch.setattr(drawing, "_next_number", lambda *_: 1)
    with (
        drawing._new_name(tmp_path, "samples", "txt") as one,
        contextlib.suppress(OSError),
        drawing._new_name(tmp_path, "samples", "txt") as other,
    ):
        raise OSError("disk full")
    assert (one.name, other.name) == ("samples-1.txt", "samples-2.txt")
    assert list(tmp_path.iterdir()) == [one]


@pytest.mark.parametrize("known", [3, 5])
def test_continue_music(known, music_run, music_dir, roll, tmp_path):
    """Half of a row; so many frames of a file."""
    media.save_sample(tmp_path, roll, name="given", frames_per_quarter=3)
    given = [f"--midi_file={tmp_path}/given.mid", f"--prefix={known}"] if known == 5 else []
    assert music_run("continue", *given, "--num_samples=1", "--length=8") == 0
    np.testing.assert_array_equal(read_roll(newest(music_dir, "opening", ".mid")), roll[:known])
    whole = read_roll(newest(music_dir, "continuation", ".mid"))
    assert len(whole) == 8
    np.testing.assert_array_equal(whole[:known], roll[:known])


def test_opening_of_a_file_that_is_too_long(music_run, music_dir, roll, tmp_path):
    media.save_sample(tmp_path, np.tile(roll, (2, 1)), name="given", frames_per_quarter=3)
    given = (f"--midi_file={tmp_path}/given.mid", "--prefix=3", "--num_samples=1", "--length=4")
    assert music_run("continue", *given) == 0
    np.testing.assert_array_equal(read_roll(newest(music_dir, "opening", ".mid")), roll[:3])


def test_frames_in_seconds(rolls, roll, tmp_path, capsys):
    """A file is read, and one is written, with frames as long as the model was trained with."""
    (tmp_path / "run").mkdir()
    use = make_run(tmp_path / "run", rolls, "lstm", frame_seconds=0.3)
    late = np.pad(roll, ((2, 1), (0, 0)))  # as in training, its silence is left out
    media.roll_to_midi(late, frames_per_quarter=4, beats_per_minute=50).save(tmp_path / "given.mid")
    given = (f"--midi_file={tmp_path}/given.mid", "--prefix=3", "--num_samples=1", "--length=4")
    assert use("continue", *given) == 0
    opening = media.read_midi_file(tmp_path / "run/samples/opening-1.mid")
    np.testing.assert_array_equal(media.midi_to_roll(opening, frame_seconds=0.3), roll[:3])
    assert use("sample", "--frames_per_quarter=4") == 2
    assert "trained with frame_seconds=0.3, not frames_per_quarter=4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("keys", "type_", "message"),
    [
        (np.eye(9, 88, dtype=bool), 0, "9 steps, this model takes at most 8: shorten it"),
        (np.zeros((4, 88), bool), 0, "given.mid has no notes"),
        (np.zeros((0, 88), bool), 0, "given.mid has no notes"),
        (np.eye(4, 88, dtype=bool), 2, "given.mid: MIDI type 2 is not supported"),
    ],
)
def test_wrong_midi_files(keys, type_, message, music_run, capsys, tmp_path):
    file = media.roll_to_midi(keys, frames_per_quarter=3)
    file.type = type_
    file.save(tmp_path / "given.mid")
    assert music_run("continue", f"--midi_file={tmp_path}/given.mid") == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fixture", "mode", "argv", "message"),
    [
        ("text_run", "interpolate", ["--text=a"], "1 sequences are given, 2 needed"),
        ("text_run", "continue", ["--row=0", "--row=1"], "2 sequences are given, 1 needed"),
        ("text_run", "reconstruct", ["--row=12"], "test has the rows 0 to 11"),
        ("text_run", "reconstruct", ["--row=-1"], "--row must be at least 0"),
        ("text_run", "reconstruct", ["--text="], "empty"),
        ("text_run", "reconstruct", ["--text=abd"], "'d' at position 2"),
        (
            "text_run",
            "reconstruct",
            ["--text=" + "a" * 9],
            "has 9 steps, this model takes at most 8",
        ),
        ("text_run", "interpolate", ["--text=a", "--text=" + "a" * 9], "has 9 steps"),
        ("text_run", "continue", ["--text=" + "a" * 9], "has 9 steps"),
        ("text_run", "reconstruct", ["--midi_file=a.mid"], "give --text or --row"),
        ("text_run", "continue", ["--text=ab", "--prefix=3"], "the sequence has 2 steps"),
        ("text_run", "continue", ["--text=ab", "--prefix=0"], "--prefix must be at least 1"),
        ("text_run", "continue", ["--text=abcabcab"], "nothing is left"),
        ("music_run", "continue", ["--text=ab"], "give --midi_file or --row"),
        ("music_run", "continue", ["--midi_file=/none.mid"], "/none.mid"),
        ("music_run", "reconstruct", [], "no latent"),
        ("music_run", "sample", ["--frames_per_quarter=4"], "leave --frames_per_quarter out"),
        ("music_run", "sample", ["--frame_seconds=0.1"], "trained with frames_per_quarter=3, not"),
    ],
)
def test_wrong_sequences(fixture, mode, argv, message, request, capsys):
    assert request.getfixturevalue(fixture)(mode, *argv) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
