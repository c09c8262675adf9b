"""Files that are whole or not there, and files of JSON lines."""

import json
import os
from pathlib import Path
from typing import Any

from nlf_jax.errors import UserError


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that it is whole or not there, whatever happens.

    Raises:
        UserError: it cannot be written.
    """
    temporary = path.with_name(path.name + ".tmp")
    if isinstance(content, str):
        content = content.encode(errors="backslashreplace")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}.") from error


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines; what is no JSON object is left out."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    rows = [_row_or_none(line) for line in lines]
    return [row for row in rows if isinstance(row, dict)]


def _row_or_none(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
