import json
import logging
import os
import random

import pytest

from nlf_jax.cli.commands import main
from nlf_jax.cli.experiments import PTB_CHAR, TEXT

TINY = ("--size=tiny", "--model=lstm", "--config.embedding=4", "--config.hidden=4")
HOSTS = ("--num_processes=2",)
SHORT = ("--config.num_epochs=1", "--config.seed=3")


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "my lines.txt"
    draw = random.Random(2)
    rows = ["".join(draw.choices("abcdef", k=draw.randint(1, 15))) for _ in range(120)]
    path.write_text("\n".join(rows))
    return path


@pytest.fixture(scope="module")
def trained(lines, tmp_path_factory):
    """A run in a workdir that was given as a relative path, like the default."""
    path = tmp_path_factory.mktemp("run dir")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path.parent)
        flags = [f"--text_file={lines}", f"--workdir={path.name}", *TINY, *SHORT]
        assert main(TEXT, flags) == 0
    return path


def run(*argv, experiment=TEXT):
    return main(experiment, [str(argument) for argument in argv])


def test_train_eval_sample(trained, lines, capsys):
    evaluation = ("--mode=eval", f"--text_file={lines}", f"--workdir={trained}")
    assert run(*evaluation, "--max_sequences=4", "--config.nll_samples=3") == 0
    out = capsys.readouterr().out
    assert "test: 4 sequences" in out
    assert not (trained / "eval_test.json").exists()
    result = json.loads((trained / "eval_test-4.json").read_text())
    assert (result["sequences"], result["model"], result["seed"]) == (4, "lstm", 3)
    assert f"{result['scores']['nll_bits']:.4f}" in out
    assert result["command"].endswith("--max_sequences=4 --config.nll_samples=3")
    assert run("--mode=sample", f"--workdir={trained}", "--num_samples=3", "--length=7") == 0
    samples = (trained / "samples" / "samples-1.txt").read_text().splitlines()
    assert [len(sample) for sample in samples] == [7, 7, 7]
    assert f"3: {samples[2]}" in capsys.readouterr().out


def test_training_again_shows_where_things_are(trained, lines, capsys):
    arguments = (f"--text_file={lines}", f"--workdir={trained}", *TINY, *SHORT)
    assert run(*arguments) == 0
    out = capsys.readouterr().out
    quoted = f"'{trained}'"
    assert f"Score it:   nlf eval {quoted}\n" in out
    assert f"Sample it:  nlf sample {quoted}\n" in out


def test_commands_are_those_of_make_under_make(trained, lines, capsys, monkeypatch):
    monkeypatch.setenv("MAKELEVEL", "1")
    arguments = (f"--text_file={lines}", f"--workdir={trained}", *TINY, *SHORT)
    assert run(*arguments) == 0
    assert f"make sample EXP=text WORKDIR='{trained}'" in capsys.readouterr().out


def assert_error(capsys, *parts):
    """One line on stderr with the parts in it, and nothing else."""
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    for part in parts:
        assert part in err


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        (["--modle=lstm"], ["unknown flag --modle; did you mean --mode or --model?"]),
        (["--hidden=3"], ["unknown flag --hidden", "--config.hidden"]),
        (["--qqqqqq"], ["unknown flag --qqqqqq", "--help"]),
        (["--model=lsmt"], ["--model is 'lsmt'", "did you mean lstm"]),
        (["--mode=trian"], ["--mode is 'trian'", "did you mean train"]),
        (["--size=big"], ["--size is 'big'", "tiny, small, paper"]),
        (["--num_samples=x"], ["--num_samples=x has a value of the wrong kind"]),
        (["--num_samples=0"], ["--num_samples must be at least 1, got 0"]),
        (["--temperature=nan"], ["--temperature must be positive"]),
        (["--process_id=0"], ["--num_processes and --process_id need --coordinator"]),
        (["--coordinator=auto", "--process_id=0"], ["need --coordinator=host:port"]),
        (["--coordinator=a:1", "--process_id=0"], ["needs --num_processes and --process_id"]),
        ([*HOSTS, "--coordinator=a:1", "--process_id=2"], ["from 0 to", "= 1, got 2"]),
        ([*HOSTS, "--coordinator=a:b", "--process_id=1"], ["must be host:port or auto, got 'a:b'"]),
        ([*HOSTS, "--coordinator=a", "--process_id=1"], ["must be host:port or auto, got 'a'"]),
        (["--split=dev"], ["--split is 'dev'", "train, valid, test"]),
        (["lstm"], ["'lstm' is not a flag"]),
        (["--config.hiden=3"], ["unknown option --config.hiden", "did you mean hidden"]),
        (["--config.hidden"], ["--config.hidden needs a value"]),
        (["--config.hidden=-3"], ["--config.hidden must be at least 1"]),
        (["--config.model=lstm"], ["--model="]),
        (["--workdir"], ["workdir"]),
        ([], ["--text_file"]),
        (["--text_file=/nowhere/a.txt"], ["/nowhere/a.txt"]),
    ],
)
def test_wrong_command_lines(argv, parts, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*argv) == 2
    assert_error(capsys, *parts)
    assert not os.listdir(tmp_path)


def test_warnings_look_like_errors():
    assert run("--help") == 0
    record = logging.LogRecord("nlf_jax.data", logging.WARNING, "", 0, "A text.", None, None)
    lines = {handler.format(record) for handler in logging.getLogger().handlers}
    assert lines == {"WARNING: A text."}


def test_missing_data(capsys, tmp_path):
    arguments = ("--data_dir=/nowhere", f"--workdir={tmp_path / 'run'}", "--size=tiny")
    assert run(*arguments, experiment=PTB_CHAR) == 2
    assert_error(capsys, "/nowhere", "--data_dir")


def test_workdir_of_another_run(trained, lines, capsys):
    arguments = [f"--text_file={lines}", f"--workdir={trained}", *TINY, *SHORT]
    assert run(*arguments, "--config.lstm_layers=2") == 2
    assert_error(capsys, "config.lstm_layers: 1 -> 2")
    assert run(*arguments, "--model=af_scf") == 2
    assert_error(capsys, "config.model: lstm -> af_scf")


def test_workdir_of_other_data(trained, capsys, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("\n".join(f"xyz{n}" for n in range(40)))
    assert run(f"--text_file={other}", f"--workdir={trained}", *TINY, *SHORT) == 2
    assert_error(capsys, "data.fingerprint", "vocabulary")
    assert run("--mode=eval", f"--text_file={other}", f"--workdir={trained}") == 2
    assert_error(capsys, "not those that")


def test_scoring_refuses_what_training_fixed(trained, capsys):
    arguments = ("--mode=sample", f"--workdir={trained}")
    assert run(*arguments, "--config.hidden=8") == 2
    assert_error(capsys, "--config.hidden was fixed in training")
    assert run(*arguments, "--model=af_scf") == 2
    assert_error(capsys, "the workdir has a lstm")
    assert run(*arguments, "--length=1000") == 2
    assert_error(capsys, "1000")


@pytest.mark.parametrize("mode", ["eval", "sample"])
def test_no_trained_model(mode, capsys, tmp_path):
    assert run(f"--mode={mode}", f"--workdir={tmp_path / 'none'}") == 2
    assert_error(capsys, "train first")
    assert not os.listdir(tmp_path)


def test_workdir_that_cannot_be_written(lines, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert run(f"--text_file={lines}", f"--workdir={tmp_path}/file/run", *TINY) == 2
    assert_error(capsys, "cannot write to the workdir")


def test_help_names_every_flag_and_option(capsys):
    assert run("--help", "--model=lstm", "--size=paper") == 0
    out = capsys.readouterr().out
    for word in ("--mode", "--text_file", "--data_dir", "hidden ", "checkpoint_every", "20.0"):
        assert word in out
    assert max(map(len, out.splitlines())) <= 100
