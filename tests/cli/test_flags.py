import pytest

from nlf_jax.cli import flags, options
from nlf_jax.errors import UserError
from nlf_jax.options import restore
from nlf_jax.training.config import TrainConfig


@pytest.mark.parametrize("argument", ["--flagfile=f", "-flagfile=f", "--flagfile"])
def test_flags_are_not_read_from_a_file(argument, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f").write_bytes(b"--mode=\xff")
    with pytest.raises(UserError, match="flags in a file"):
        flags.parse([argument], {})


@pytest.mark.timeout(10)
def test_very_long_names_are_refused():
    with pytest.raises(UserError, match="unknown flag --momo"):
        flags.parse(["--" + "mo" * 100_000 + "=1"], {})


@pytest.mark.parametrize("word", ["mode", "-", "--", "--=1", "--x", "-x=1", ""])
def test_words_that_are_no_flags_are_refused(word):
    with pytest.raises(UserError, match=rf"'{word}' is not a flag|unknown flag --x;"):
        flags.parse([word, "--help"], {})


@pytest.mark.parametrize(
    ("words", "text", "file"),
    [
        (["-"], None, "-"),
        (["--json", "-"], None, "-"),
        (["--nocut", "-"], None, "-"),
        (["--text", "-"], ["-"], None),
        (["--text", "a", "-"], ["a"], "-"),
    ],
)
def test_a_dash_is_the_standard_input_unless_a_flag_takes_it(words, text, file):
    values = flags.parse(["--mode=score", *words], {}).values
    assert (values["text"], values["text_file"]) == (text, file)


@pytest.mark.parametrize("argument", ["--a\nb=1", "--config.a\nb=1"])
def test_errors_are_one_line(argument):
    with pytest.raises(UserError, match=r"^unknown .*a\\nb.*\.$"):
        flags.training_config("text", flags.parse([argument], {}))


def test_long_values_of_a_damaged_config_are_shortened():
    values = vars(options.get_config("text", "lstm", "tiny")) | {"optimizer": ["x"] * 100_000}
    with pytest.raises(UserError) as caught:
        restore(TrainConfig, values, written_as=1)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("mode", "flag", "right"),
    [
        ("eval", "num_samples=9", "sample, interpolate, continue"),
        ("eval", "temperature=0.5", "sample, continue"),
        ("score", "max_sequences=3", "eval"),
        ("sample", "text=a", "reconstruct, interpolate, continue, score, report"),
        ("export", "nogreedy", "sample, reconstruct, interpolate, continue"),
    ],
)
def test_flags_of_another_command_are_not_ignored(mode, flag, right):
    line = flags.parse([f"--mode={mode}", f"--{flag}"], {})
    with pytest.raises(UserError, match=f"is no flag of {mode}: it is for {right}"):
        flags.require_suited(line)


def test_what_follows_a_command_has_its_flags_too():
    line = flags.parse(["--mode=train", "--num_samples=9", "--max_sequences=3"], {})
    flags.require_suited(line, ("eval", "sample"))


def test_every_flag_that_a_command_takes_is_there():
    assert flags.FLAGS_OF.keys() == set(flags.MODES)
    assert set().union(*flags.FLAGS_OF.values()) <= set(flags.define({}))


def test_an_empty_workdir_is_not_the_default():
    with pytest.raises(UserError, match="--workdir is empty: give a path"):
        flags.parse(["--workdir="], {})


def test_negated_flags_take_no_value():
    with pytest.raises(UserError, match="--nogreedy=1 does not take an argument"):
        flags.parse(["--nogreedy=1"], {})
