"""``nlf score``, of models in files."""

import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nlf_jax import media
from nlf_jax.cli import scoring
from nlf_jax.cli.main import main
from nlf_jax.cli.options import get_config
from nlf_jax.data.lengths import length_log_prob
from nlf_jax.data.sequences import corpus_of
from nlf_jax.models import SequenceModel, create_network
from nlf_jax.training import workdir
from nlf_jax.training.model_file import Loaded, write_model_file

LINES = ["abc abd", "dab", "cab dab bad", "bad"]
SIZES = {"embedding": 4, "hidden": 4, "lstm_layers": 1}


def write(path, experiment, sequences, frame=None):
    """An untrained model of the sequences; a length that they don't have is impossible."""
    corpus = corpus_of(sequences)
    config = get_config(experiment, "lstm", "tiny", **SIZES)
    description = workdir.describe(experiment, config, corpus, frame=frame)
    sizes = {"num_symbols": corpus.num_symbols, "max_length": corpus.max_length}
    network = create_network(config.network, **sizes, key=jax.random.key(0))
    lengths = np.array(list(map(len, sequences)))
    prior = jnp.asarray(length_log_prob(lengths, corpus.max_length, smoothing=False))
    model = SequenceModel(network, prior, corpus.vocabulary)
    write_model_file(path, Loaded(description | {"format": workdir.FORMAT}, model, 1), "0.1.0")
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model of lines of at most 11 letters."""
    return write(tmp_path_factory.mktemp("export") / "letters.safetensors", "text", LINES)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def show(monkeypatch, text):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def assert_error(capsys, *parts):
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    for part in parts:
        assert part in error


def test_lines_and_their_total(exported, here, capsys, monkeypatch):
    show(monkeypatch, "dab\n\nabc\n")
    assert main(["score", str(exported), "-", "--text=bad"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert "bits per character" in out[1]
    assert [line.split()[:2] for line in out[2:5]] == [["text", "1"], ["line", "1"], ["line", "3"]]
    assert out[4].endswith("  abc")
    assert out[5].startswith("total")
    assert out[5].endswith("3 sequences, 9 characters")
    assert "\x1b" not in "".join(out)
    assert not list(here.iterdir())


def test_json_lines(exported, here, capsys):
    (here / "lines.txt").write_text("dab\nabca\n")
    assert main(["score", str(exported), "--text_file=lines.txt", "--json"]) == 0
    *rows, whole = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["line"], row["text"], row["steps"]) for row in rows] == [
        (1, "dab", 3), (2, "abca", 4),
    ]  # fmt: skip
    for row in rows:
        assert row["exact"]
        assert sum(row["by_step"]) == pytest.approx(row["nats_given_length"], abs=1e-4)
    assert whole["total"]
    # No training line has 4 letters.
    assert rows[1]["nats"] is None
    assert whole["nats"] is None
    given = sum(row["nats_given_length"] for row in rows)
    assert whole["bits_per_character_given_length"] == pytest.approx(given / 7 / np.log(2))


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ([], ["give what is to be scored: --text, --text_file or -"]),
        (["--text= "], ["every given line is blank"]),
        (["--text=abe"], ["text 1: Symbol 'e' at position 2", "--unseen=SYMBOL"]),
        (["--text=a", "--text=" + "ab " * 5], ["text 2 has 15 characters", "at most 11", "--cut"]),
        (["--midi_dir=."], ["--midi_dir does not suit this model"]),
        (["--text_file=none.txt"], ["none.txt"]),
    ],
)
def test_mistakes_are_one_line(exported, here, capsys, flags, parts):
    assert main(["score", str(exported), *flags]) == 2
    assert_error(capsys, *parts)


def test_what_is_for_score_is_no_flag_of_a_data_set(here, capsys):
    assert main(["train", "quickstart", "--text_file=a.txt"]) == 2
    assert_error(capsys, "--text_file is no flag of this data set")


def test_long_lines_are_cut_and_strangers_replaced_if_asked(exported, here, capsys, caplog):
    flags = ["--cut", "--unseen=a", "--json", "--text=bad dab eab dab bad dab"]
    assert main(["score", str(exported), *flags]) == 0
    *rows, whole = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["part"], row["text"]) for row in rows] == [
        (1, "bad dab eab"), (2, "dab bad dab"),
    ]  # fmt: skip
    assert whole["sequences"] == 2
    assert "1 symbols unseen in training are now 'a'" in caplog.text


def test_colours_follow_the_bits(monkeypatch):
    shown = scoring._coloured("ab\tcd", np.array([0.1, 0.2, 3.0, 9.0, 9.0]))
    assert shown == "ab\x1b[30;48;5;222m\\t\x1b[0m\x1b[30;48;5;203mcd\x1b[0m"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert scoring._has_colours()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not scoring._has_colours()


def test_pieces_of_music(here, capsys):
    rng = np.random.default_rng(0)
    rolls = [rng.random((6, 88)) < 0.05 for _ in range(4)]
    write(here / "run.safetensors", "midi", rolls, {"frames_per_quarter": 2})
    (here / "midi").mkdir()
    for number, roll in enumerate(rolls[:2]):
        media.roll_to_midi(roll, frames_per_quarter=2).save(here / f"midi/piece-{number}.mid")
    (here / "midi/broken.mid").write_bytes(b"MThd")
    assert main(["score", "run.safetensors", "--midi_dir=midi", "--json"]) == 0
    *rows, whole = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["file"] for row in rows] == ["midi/piece-0.mid", "midi/piece-1.mid"]
    assert whole["nats_per_frame_given_length"] > 0
    assert main(["score", "run.safetensors", "--text=a"]) == 2
    assert_error(capsys, "--text does not suit this model")
