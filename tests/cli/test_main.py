import json
import os

import pytest

from nlf_jax.cli.main import main
from nlf_jax.cli.options import OPTIONS
from nlf_jax.training import workdir

TINY = ["--size=tiny", "--model=lstm", "--config.num_epochs=1", "--config.max_length=12"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run whose text, with spaces to strip, was given by a relative path."""
    root = tmp_path_factory.mktemp("nlf")
    (root / "lines.txt").write_text("\n".join(f"{' ' * (n % 3)}line {n}" for n in range(60)))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert (
            main(["train", "text", "--text_file=lines.txt", "--strip", "--workdir=run", *TINY]) == 0
        )
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
    assert workdir.read_description(trained)["source"] == {
        "text_file": os.fspath(moved), "strip": "true", "unique": "false", "windows": "false",
    }  # fmt: skip


def test_a_run_of_the_first_format_goes_on(trained, tmp_path, capsys):
    """It lacks the options that came later and the source of its data, which were stripped."""
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


def test_other_lines_of_the_same_text_are_other_data(trained, capsys):
    flags = [f"--text_file={trained.parent}/lines.txt", f"--workdir={trained}", *TINY]
    assert main(["train", "text", *flags, "--nostrip"]) == 2
    assert "data.fingerprint" in capsys.readouterr().err


def test_unseen_symbols_are_refused_and_the_flag_is_named(trained, capsys):
    assert main(["continue", str(trained), "--text=line Ω"]) == 2
    assert "'Ω' at position 5" in (error := capsys.readouterr().err)
    assert "--unseen=SYMBOL" in error
    assert main(["continue", str(trained), "--text=line Ω", "--unseen=Ω"]) == 2
    assert "--unseen is 'Ω'" in capsys.readouterr().err


def test_an_exported_model_does_for_the_workdir(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(trained), "--output=lines.safetensors"]) == 0
    assert main(["export", str(trained)]) == 0
    assert f"nlf sample {trained}/model.safetensors" in capsys.readouterr().out
    assert main(["sample", "lines.safetensors", "--num_samples=2", "--length=3"]) == 0
    samples = (tmp_path / "lines/samples/samples-1.txt").read_text().splitlines()
    assert main(["sample", str(trained), "--num_samples=2", "--length=3"]) == 0
    out = capsys.readouterr().out
    assert all(out.count(f"{n}: {text}\n") == 2 for n, text in enumerate(samples, 1))
    # Its lines were stripped, which the file knows; the path of the text it does not.
    assert main(["eval", "lines.safetensors", "--max_sequences=3"]) == 2
    assert "--text_file" in capsys.readouterr().err
    text = f"--text_file={trained.parent}/lines.txt"
    assert main(["eval", "lines.safetensors", "--max_sequences=3", text]) == 0
    result = json.loads((tmp_path / "lines/eval_test.json").read_text())
    assert result["command"].startswith("nlf eval lines.safetensors")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["export", "RUN", "--output=notes.txt"], "--output is notes.txt: give a name that ends"),
        (["export", "RUN", "--output=~nobody_at_all/a.safetensors"], "no such home folder"),
        (["report", "RUN", "--output=RUN/config.json"], "give a name that ends in .html"),
        (["report", "RUN", "--output=."], "give a name that ends in .html"),
        (["report", "RUN", "--figures=~nobody_at_all"], "no such home folder"),
        (["sample", "a" * 300], "File name too long"),
        (["export", "pretrained:king_james"], "is no workdir: it is such a file already"),
        (["train", "quickstart", "--workdir=pretrained:king_james"], "nothing can be trained in"),
        (["sample", "pretrained:king"], "'king'; did you mean king_james"),
        (["sample", "none.safetensors"], "there is no file none.safetensors: `nlf export"),
    ],
)
def test_mistakes_with_files_are_one_line(trained, argv, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([word.replace("RUN", str(trained)) for word in argv]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


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
        (["sample"], "give `nlf sample` MODEL"),
        (["export"], "give `nlf export` WORKDIR"),
        (["train", "--size=tiny"], "give `nlf train` EXPERIMENT"),
        (["train", "ptb"], "did you mean ptb_char"),
        (["eval", "nowhere"], "no trained model in nowhere"),
        (["sample", "nowhere", "--seed=-1"], "no trained model"),
        (["sample", "nowhere", "--mode=train"], "--mode is said by `nlf sample nowhere`"),
        (["sample", "nowhere", "--workdir", "x"], "--workdir is said by `nlf sample nowhere`"),
        (["train", "text", "-mode=eval"], "--mode is said by `nlf train text`"),
        (["train", "text", "--num_samples=3"], "no flag of train: it is for sample, interpolate"),
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
