import pytest

from experiments import flags, options
from nlf_jax.errors import UserError


@pytest.mark.parametrize("argument", ["--flagfile=f", "-flagfile=f", "--flagfile"])
def test_flags_are_not_read_from_a_file(argument, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f").write_bytes(b"--mode=\xff")
    with pytest.raises(UserError, match="flags in a file"):
        flags.parse([argument], {})


def test_very_long_names_are_refused():
    with pytest.raises(UserError, match="too long to be a flag"):
        flags.parse(["--" + "mo" * 100_000 + "=1"], {})


@pytest.mark.parametrize("argument", ["--a\nb=1", "--config.a\nb=1"])
def test_errors_are_one_line(argument):
    with pytest.raises(UserError, match=r"^unknown .*a\\nb.*\.$"):
        flags.training_config("text", flags.parse([argument], {}))


def test_long_values_of_a_damaged_config_are_shortened():
    values = options.get_config("text", "lstm", "tiny").to_dict() | {"optimizer": ["x"] * 100_000}
    with pytest.raises(UserError) as caught:
        options.from_json(values)
    assert len(str(caught.value)) < 200
