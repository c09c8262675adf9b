"""Reading checkpoints back: verified, and without the noise that Orbax makes."""

import contextlib
import gc
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging as absl_logging

from nlf_jax.training.arrays import digest, digest_json

LATE_SECONDS = 0.2


def read_parts(directory: Path, step: int, items: Sequence[str]) -> dict[str, Any]:
    """Items of a checkpoint, verified; "meta" must be among them.

    Raises:
        Exception: anything, mostly ValueError: it is not whole, or its digest is another.
    """
    handlers: dict[str, Any] = {
        item: ocp.JsonCheckpointHandler() if item == "meta" else ocp.StandardCheckpointHandler()
        for item in items
    }
    args = {
        item: ocp.args.JsonRestore() if item == "meta" else ocp.args.StandardRestore()
        for item in items
    }
    parts = _restore_quietly(
        ocp.CompositeCheckpointHandler(**handlers),
        directory.absolute() / str(step),
        ocp.args.Composite(**args),
    )
    digests = parts["meta"]["sha256"]
    found = {item: digest(parts[item]) for item in items if item != "meta"}
    found["host"] = digest_json(parts["meta"]["host"])
    wrong = [item for item, value in found.items() if value != digests[item]]
    if wrong:
        raise ValueError(f"the digest of {' and '.join(wrong)} does not match")
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


def _restore_quietly(handler: ocp.CheckpointHandler, path: Path, args: Any) -> dict[str, Any]:
    """Orbax's restore; when it fails, what it leaves behind is not printed."""
    with late_callbacks_ignored(), quiet(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
        with ocp.Checkpointer(handler, multiprocessing_options=alone()) as checkpointer:
            try:
                return dict(checkpointer.restore(path, args).items())
            except Exception as error:  # Orbax raises whatever its parts raise.
                problem = first_line(error)
        gc.collect()
        time.sleep(LATE_SECONDS)
    raise ValueError(problem)
