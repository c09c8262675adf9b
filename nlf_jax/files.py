"""Files that are whole or not there, and files that anyone may have made."""

import contextlib
import itertools
import json
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from nlf_jax.errors import UserError

MAX_ROWS_BYTES, MAX_ROW_BYTES = 2**30, 2**20


def expanded(what: str, path: str | os.PathLike) -> Path:
    """The path with ``~`` made the home folder.

    Args:
        what: its name in messages.

    Raises:
        UserError: it is empty or no path, or there is no such home folder.
    """
    try:
        if not os.fspath(path):
            raise UserError(f"{what} is empty: give a path.")
        return Path(path).expanduser()
    except TypeError as error:
        raise UserError(f"{what} is {path!r}: give a path, as text.") from error
    except RuntimeError as error:
        raise UserError(
            f"{what} is {path}, but there is no such home folder: give a full path."
        ) from error


def cache_directory() -> Path:
    """NLF_CACHE_DIR, or ~/.cache/nlf_jax.

    Raises:
        UserError: there is no such home folder.
    """
    return expanded("NLF_CACHE_DIR", os.environ.get("NLF_CACHE_DIR") or "~/.cache/nlf_jax")


def unused(path: Path) -> Path:
    """The path, or one of its name and a number that there is not yet: ``name_1.suffix``."""
    names = (path.with_stem(f"{path.stem}_{number}") for number in itertools.count(1))
    return next(each for each in itertools.chain([path], names) if not os.path.lexists(each))


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that it is whole or not there, whatever happens.

    Several may write the same file at once; one of them wins. A process that is killed may leave
    its own temporary file, which nothing reads.

    Raises:
        UserError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    if isinstance(content, str):
        content = content.encode(errors="backslashreplace")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise UserError(f"cannot write {path}: {error.strerror}.") from error
        raise


def remove(path: Path) -> None:
    """Remove a file, if there is one.

    Raises:
        UserError: it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"cannot remove {path}: {error.strerror}.") from error


def read_file(path: Path, limit: int) -> bytes:
    """The content of a file, read without waiting for anything but the disk.

    Args:
        limit: the most bytes that it may have.

    Raises:
        FileNotFoundError: there is none.
        UserError: it cannot be read, is larger, or is no file but a FIFO or the like.
    """
    with open_regular(path, limit) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise UserError(_too_large(path, len(content), limit))
    return content


def read_json(path: Path, limit: int, depth: int = 8) -> Any:
    """The JSON value in a file.

    Args:
        limit: the most bytes that the file may have.
        depth: how many lists and objects may be inside each other.

    Raises:
        ValueError: it is no JSON, or deeper.
        FileNotFoundError, UserError: as ``read_file``.
    """
    try:
        return json_value(read_file(path, limit), depth)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def json_value(text: bytes | str, depth: int = 8) -> Any:
    """The value that JSON in UTF-8 means; infinities and NaN are none.

    Args:
        depth: how many lists and objects may be inside each other.

    Raises:
        ValueError: it is no JSON, or deeper.
    """
    text = text.decode() if isinstance(text, bytes) else text
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if _is_deeper(value, depth):
        raise ValueError("it is nested too deeply")
    return value


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines; what is no JSON object is left out."""
    return [row for row in map(row_of, read_lines(path)) if row is not None]


def read_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file of JSON lines; of one that is far too long only its parts.

    Raises:
        FileNotFoundError, UserError: as ``read_file``.
    """
    with open_regular(path, MAX_ROWS_BYTES) as file:
        yield from iter(lambda: file.readline(MAX_ROW_BYTES), b"")


def row_of(line: bytes) -> dict[str, Any] | None:
    """The JSON object in a line; None if there is none."""
    try:
        row = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


@contextlib.contextmanager
def open_regular(path: Path, limit: int) -> Iterator[BinaryIO]:
    """Opens a file to read it, without waiting as opening a FIFO would.

    Args:
        limit: the most bytes that it may have.

    Raises:
        FileNotFoundError: there is none.
        UserError: it cannot be read, then or later, is larger, or is no file.
    """
    try:
        with open(path, "rb", opener=open_at_once) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise UserError(f"{path} is no file, but {_kind(found.st_mode)}: put one there.")
            if found.st_size > limit:
                raise UserError(_too_large(path, found.st_size, limit))
            yield file
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}.") from error


def _kind(mode: int) -> str:
    return "a FIFO" if stat.S_ISFIFO(mode) else "a device"


def open_at_once(path: str, flags: int) -> int:
    """An opener for ``open``: a pipe to which nobody writes is not waited for."""
    return os.open(path, flags | os.O_NONBLOCK)


def _too_large(path: Path, size: int, limit: int) -> str:
    return f"{path} has {size:,} bytes or more; the most that it may have is {limit:,}."


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"JSON has no {name}")


def _is_deeper(value: Any, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    parts = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_is_deeper(part, depth - 1) for part in parts)
