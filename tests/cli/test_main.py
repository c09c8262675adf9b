import json
import os

import pytest

from nlf_jax.cli.main import main
from nlf_jax.cli.options import OPTIONS
from nlf_jax.training import workdir

TINY = ["--size=tiny", "--model=lstm", "--config.num_epochs=1", "--config.max_length=12"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run whose text was given by a relative path."""
    root = tmp_path_factory.mktemp("nlf")
    (root / "lines.txt").write_text("\n".join(f"line {n}" for n in range(60)))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert main(["train", "text", "--text_file=lines.txt", "--workdir=run", *TINY]) == 0
    return root / "run"


def test_a_workdir_knows_where_its_data_came_from(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["eval", str(trained), "--max_sequences=3"]) == 0
    assert main(["sample", str(trained), "--num_samples=2"]) == 0
    assert main(["continue", str(trained), "--row=0", "--num_samples=1"]) == 0
    assert json.loads((trained / "eval_test.json").read_text())["sequences"] == 3
    out = capsys.readouterr().out
    assert "per character" in out
    assert "ompil" in out


def test_other_data_of_the_same_content_go_on(trained, tmp_path, capsys):
    moved = tmp_path / "lines.txt"
    moved.write_bytes((trained.parent / "lines.txt").read_bytes())
    flags = [f"--text_file={moved}", f"--workdir={trained}", *TINY]
    assert main(["train", "text", *flags]) == 0
    assert workdir.read_description(trained)["source"] == {"text_file": os.fspath(moved)}


def test_a_run_of_the_first_format_goes_on(trained, tmp_path, capsys):
    """It lacks the options that came later, and the source of its data."""
    path = trained / "config.json"
    description = json.loads(path.read_text())
    del description["source"]
    description["format"] = 1
    for name in [name for name, option in OPTIONS.items() if option.since > 1]:
        del description["config"][name]
    path.write_text(json.dumps(description))
    assert main(["sample", str(trained), "--num_samples=1"]) == 0
    flags = [f"--text_file={trained.parent}/lines.txt", f"--workdir={trained}", *TINY]
    assert main(["train", "text", *flags, "--config.num_epochs=2"]) == 0
    assert "going on after step" in capsys.readouterr().out
    assert main(["eval", str(trained), "--max_sequences=2"]) == 0


def test_a_newer_format_is_refused_by_name(trained, capsys):
    path = trained / "config.json"
    before = path.read_text()
    path.write_text(before.replace(f'"format": {workdir.FORMAT}', '"format": 99'))
    assert main(["sample", str(trained)]) == 2
    path.write_text(before)
    error = capsys.readouterr().err
    assert "has format 99" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["smple", "x"], "did you mean sample"),
        (["sample"], "give `nlf sample` WORKDIR"),
        (["train", "--size=tiny"], "give `nlf train` EXPERIMENT"),
        (["train", "ptb"], "did you mean ptb_char"),
        (["eval", "nowhere"], "no trained model in nowhere"),
        (["sample", "nowhere", "--seed=-1"], "no trained model"),
    ],
)
def test_mistakes_are_one_line(argv, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_help(capsys):
    assert main(["--help"]) == 0
    assert "nlf train" in capsys.readouterr().out
    assert main(["train", "ptb_char", "--help"]) == 0
    assert "--config.<name>" in capsys.readouterr().out
