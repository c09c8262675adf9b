"""Reading checkpoints back: verified, and without the noise that Orbax makes."""

import contextlib
import errno
import gc
import os
import re
import stat
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging as absl_logging

from nlf_jax.errors import UserError
from nlf_jax.files import read_json
from nlf_jax.training.arrays import digest, digest_json

LATE_SECONDS = 0.2
# Orbax's descriptions of a checkpoint and of its arrays, and the host's own file.
_JSON_FILES = {"_CHECKPOINT_METADATA", "_METADATA", "_sharding", "metadata"}
_MAX_JSON_BYTES, _MAX_DEPTH, _MAX_READ = 2**26, 16, 2**31
# What says that something is damaged, rather than that the disk cannot be read now.
_DAMAGE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_TROUBLE = re.compile(
    "(ABORTED|CANCELLED|DEADLINE_EXCEEDED|INTERNAL|PERMISSION_DENIED|RESOURCE_EXHAUSTED"
    "|UNAVAILABLE|UNKNOWN): "
)
Shapes = Mapping[str, jax.ShapeDtypeStruct]
Parts = dict[str, Any]


def read_parts(
    directory: Path, step: int, items: Sequence[str], expected: Mapping[str, Shapes] | None = None
) -> Parts:
    """Items of a checkpoint, verified; "meta" must be among them.

    Args:
        directory: of the checkpoints, named by their steps.
        step: of the checkpoint.
        items: its parts.
        expected: names, shapes and dtypes of their arrays, which are then compared before an array
            is allocated.

    Raises:
        ValueError: it is damaged: not whole, or not what was saved.
        UserError: it cannot be read, which says nothing about it.
    """
    path = directory.absolute() / str(step)
    try:
        _check_files(path)
        for item, shapes in (expected or {}).items():
            _check_shapes(path / item, shapes)
        parts = _restore(path, items)
        _check_digests(parts, items)
    except UserError:
        raise
    except Exception as error:  # Orbax raises whatever its parts raise.
        if _is_trouble(error):
            raise UserError(
                f"cannot read the checkpoint {path} ({first_line(error)}); it was left as it is. "
                "Try again when it can be read."
            ) from error
        raise ValueError(first_line(error)) from error
    return parts


def alone() -> ocp.options.MultiprocessingOptions:
    """Orbax's setting for a process that reads or writes without the others."""
    process = jax.process_index()
    return ocp.options.MultiprocessingOptions(primary_host=process, active_processes={process})


def first_line(error: BaseException) -> str:
    """The first line of an error's text, shortened."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Orbax logs routine work as warnings, and errors that it raises too with a traceback."""
    level = absl_logging.get_verbosity()
    absl_logging.set_verbosity(absl_logging.FATAL)
    try:
        yield
    finally:
        absl_logging.set_verbosity(level)


@contextlib.contextmanager
def late_callbacks_ignored() -> Iterator[None]:
    """Hides what is printed about reads and writes that end after Orbax gave up on them.

    It gives up when one of them fails, and the others would each print a traceback.
    """
    hook = sys.unraisablehook
    sys.unraisablehook = lambda late: None if _is_late(late.exc_value) else hook(late)
    try:
        yield
    finally:
        sys.unraisablehook = hook


def _is_late(error: BaseException | None) -> bool:
    return isinstance(error, RuntimeError) and str(error) == "Event loop is closed"


def _restore(path: Path, items: Sequence[str]) -> Parts:
    handlers: dict[str, Any] = {
        item: ocp.JsonCheckpointHandler() if item == "meta" else ocp.StandardCheckpointHandler()
        for item in items
    }
    args = {
        item: ocp.args.JsonRestore() if item == "meta" else ocp.args.StandardRestore()
        for item in items
    }

    def restore() -> Parts:
        handler = ocp.CompositeCheckpointHandler(**handlers)
        with ocp.Checkpointer(handler, multiprocessing_options=alone()) as checkpointer:
            return dict(checkpointer.restore(path, ocp.args.Composite(**args)).items())

    return _quietly(restore, path)


def _check_files(path: Path) -> None:
    """Raises a ValueError for what is no file, and for a description that is none or too large.

    Orbax would wait for a FIFO and take whatever memory a description asks for.
    """
    for folder, _, names in os.walk(path, onerror=_raise):
        for file in (Path(folder, name) for name in names):
            found = file.stat()
            if not stat.S_ISREG(found.st_mode):
                raise ValueError(f"{file} is no file")
            if file.name in _JSON_FILES and found.st_size > _MAX_JSON_BYTES:
                raise ValueError(f"{file} has {found.st_size:,} bytes")
    read_json(path / "meta" / "metadata", _MAX_JSON_BYTES, _MAX_DEPTH)


def _check_shapes(path: Path, expected: Shapes) -> None:
    """Raises a ValueError unless the arrays of an item are such; reads none of them."""
    described = read_json(path / "_METADATA", _MAX_JSON_BYTES, _MAX_DEPTH)["tree_metadata"]
    if len(described) != len(expected):
        raise ValueError(f"{path.name} has {len(described)} arrays, not {len(expected)}")
    handler: Any = ocp.StandardCheckpointHandler()
    found = _quietly(lambda: dict(handler.metadata(path).tree), path)
    if found.keys() != expected.keys():
        other = ", ".join(sorted(found.keys() ^ expected.keys())[:3])
        raise ValueError(f"other parameters than this model's, for instance {other}")
    for name, array in found.items():
        wanted = expected[name]
        if (tuple(array.shape), np.dtype(array.dtype)) != (wanted.shape, wanted.dtype):
            there, here = (f"{a.dtype}{list(a.shape)}" for a in (array, wanted))
            raise ValueError(f"{name} is {there}, not {here}")
        chunk = array.storage.chunk_shape
        if any(part > max(1, size) for part, size in zip(chunk, wanted.shape, strict=True)):
            raise ValueError(f"{name} is kept in parts of {list(chunk)}")


def _check_digests(parts: Parts, items: Sequence[str]) -> None:
    digests = parts["meta"]["sha256"]
    found = {item: digest(parts[item]) for item in items if item != "meta"}
    found["host"] = digest_json(parts["meta"]["host"])
    wrong = [item for item, value in found.items() if value != digests[item]]
    if wrong:
        raise ValueError(f"the digest of {' and '.join(wrong)} does not match")


def _quietly(action: Callable[[], Parts], path: Path) -> Parts:
    """What Orbax reads of a path; when it fails, what it leaves behind is not printed.

    Raises:
        ValueError: it is damaged.
        OSError: it cannot be read.
    """
    with late_callbacks_ignored(), quiet(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
        try:
            return action()
        except Exception as error:  # Orbax raises whatever its parts raise.
            kind = OSError if _is_trouble(error) or _cannot_be_read(path) else ValueError
            problem = first_line(error)
        gc.collect()
        time.sleep(LATE_SECONDS)
    raise kind(problem)


def _is_trouble(error: BaseException) -> bool:
    """Whether an error says that something cannot be read, and not that it is damaged."""
    if isinstance(error, OSError):
        return not isinstance(error, _DAMAGE) and error.errno != errno.ELOOP
    cause = error.__cause__ or error.__context__
    return (
        isinstance(error, MemoryError)
        or _TROUBLE.match(str(error)) is not None
        or (cause is not None and _is_trouble(cause))
    )


def _cannot_be_read(path: Path) -> bool:
    """Whether reading the files of a checkpoint, as they are, fails."""
    try:
        for file in (Path(folder, name) for folder, _, names in os.walk(path) for name in names):
            if file.is_file():
                with open(file, "rb") as opened:
                    for _ in range(_MAX_READ // 2**20):
                        if not opened.read(2**20):
                            break
    except OSError as error:
        return _is_trouble(error)
    return False


def _raise(error: OSError) -> None:
    raise error
