"""What a run reports: metrics.jsonl, TensorBoard events, and a bar or lines on the terminal."""

import contextlib
import json
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import jax
import numpy as np
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog  # ty: ignore[missing-module-member]
from tqdm import tqdm

from nlf_jax.errors import UserError
from nlf_jax.files import read_lines, read_rows, row_of, unused, write_atomically
from nlf_jax.training.state import StepMetrics
from nlf_jax.training.units import Unit

FILE_NAME = "metrics.jsonl"
_logger = logging.getLogger(__name__)


class StepInfo(NamedTuple):
    """What the host knows of a step.

    Attributes:
        step: batches seen, this one included.
        rows: row numbers in the training split, int [B].
        epoch: from 0.
        kl_weight: of the KL term.
        learning_rate: of the step.
    """

    step: int
    rows: np.ndarray
    epoch: int
    kl_weight: float
    learning_rate: float


class FetchedStep(NamedTuple):
    """A step's information with its metrics, on the host."""

    info: StepInfo
    metrics: StepMetrics


class Window:
    """Metrics of the latest steps; they stay on the device until the step after has been sent.

    So the device never waits for the host.
    """

    def __init__(self, size: int):
        self._size = size
        self._steps: list[StepInfo] = []
        self._metrics: list[StepMetrics] = []

    def add(self, info: StepInfo, metrics: StepMetrics) -> list[FetchedStep]:
        """Takes a step; gives the steps up to the one before when they fill a window, else []."""
        full = bool(self._steps) and self._steps[-1].step % self._size == 0
        fetched = self.fetch() if full else []
        self._steps.append(info)
        self._metrics.append(metrics)
        return fetched

    def fetch(self) -> list[FetchedStep]:
        """All steps held; waits for them."""
        metrics = jax.device_get(self._metrics)
        fetched = [FetchedStep(*pair) for pair in zip(self._steps, metrics, strict=True)]
        self._steps, self._metrics = [], []
        return fetched


def summarise(steps: Sequence[FetchedStep], unit: Unit) -> dict[str, Any]:
    """One row of metrics for a window of steps; skipped steps don't count in the means.

    Sums over the window's sequences divided by the sum of T + 1: ``kl`` and ``recon`` in nats,
    minus the ELBO at KL weight 1 in the unit, under its key. ``skipped`` counts the skipped steps.
    """
    good = [step.metrics for step in steps if not step.metrics.skipped]
    tokens = sum(int(m.tokens) for m in good)
    mean = lambda values: float(sum(values)) / tokens if tokens else None  # noqa: E731
    nats = mean(m.nats for m in good)
    last = steps[-1].info
    return {
        "split": "train",
        "step": last.step,
        "epoch": last.epoch,
        "loss": float(np.mean([m.loss for m in good])) if good else None,
        unit.key: None if nats is None else nats * unit.per_nat,
        "kl": mean(m.kl for m in good),
        "recon": mean(m.reconstruction for m in good),
        "kl_weight": last.kl_weight,
        "lr": last.learning_rate,
        "grad_norm": float(np.mean([m.grad_norm for m in good])) if good else None,
        "skipped": len(steps) - len(good),
        "tokens": tokens,
    }


class MetricsWriter:
    """Appends rows to metrics.jsonl and to TensorBoard's events.

    Args:
        workdir: of the run.
        step: rows of training steps after this one are dropped first; they will be made again. At
            0 those of a run that had a validation, whose checkpoints are gone, are set aside.
        epochs: likewise rows of validations after this many epochs.

    Raises:
        UserError: it cannot be written.
    """

    def __init__(self, workdir: Path, step: int, epochs: int):
        path = workdir / FILE_NAME
        with _told_as_user_error(workdir):
            if not step:
                _set_aside(path)
        keep_rows(path, lambda row: _is_past(row, step, epochs))
        with _told_as_user_error(workdir):
            self._events = _open_events(workdir / "tensorboard", step)
            self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115

    def write(self, row: dict[str, Any]) -> None:
        """Writes one row; a number that is not finite becomes null.

        Raises:
            UserError: it cannot be written.
        """
        row = {name: _finite_or_none(value) for name, value in row.items()}
        with _told_as_user_error(self._file.name):
            self._file.write(json.dumps(row, allow_nan=False) + "\n")
            self._file.flush()
            self._write_events(row)

    def close(self) -> None:
        """Closes both files; what could not be written has been told before."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._events.close()

    def _write_events(self, row: dict[str, Any]) -> None:
        for name, value in row.items():
            if isinstance(value, int | float) and name not in ("step", "epoch"):
                scalar = summary.scalar(f"{row['split']}/{name}", value)
                event = Event(wall_time=time.time(), step=row["step"], summary=scalar)
                self._events.write_event(event)
        self._events.flush()


@contextlib.contextmanager
def _told_as_user_error(path: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {error.filename or path} ({error.strerror}); checkpoints are untouched. "
            "Make room, then give the same command again to go on."
        ) from error


def _open_events(directory: Path, step: int) -> EventsWriter:
    """TensorBoard's file for the steps after ``step``; it hides those of an earlier part.

    Written in this thread: tensorboardX's own prints a traceback when the disk is full.
    """
    directory.mkdir(exist_ok=True)
    events = EventsWriter(str(directory / "events"), filename_suffix=f".{step}")
    start = SessionLog(status=SessionLog.START)
    events.write_event(Event(wall_time=time.time(), step=step + 1, session_log=start))
    return events


def _set_aside(path: Path) -> None:
    """Renames the metrics of a run with a validation."""
    if path.exists() and any(row.get("split") == "valid" for row in read_rows(path)):
        kept = unused(path.with_stem(f"{path.stem}_before"))
        os.replace(path, kept)
        _logger.warning("There were metrics without checkpoints: %s has them now.", kept)


def keep_rows(path: Path, keep: Callable[[dict[str, Any]], bool]) -> None:
    """Rewrites a file of metrics with the rows to keep, as they are.

    What is no row goes too, with a warning; of the last line a kill may have left a part.

    Raises:
        UserError: it cannot be read or written.
    """
    try:
        lines = list(read_lines(path))
    except FileNotFoundError:
        return
    if lines and not lines[-1].endswith(b"\n"):
        lines[-1:] = [lines[-1] + b"\n"] if _is_row(row_of(lines[-1])) else []
    rows = [row_of(line) for line in lines]
    damaged = sum(not _is_row(row) for row in rows)
    if damaged:
        _logger.warning("%d lines of %s are damaged and were left out.", damaged, path)
    pairs = zip(lines, rows, strict=True)
    write_atomically(path, b"".join(line for line, row in pairs if _is_row(row) and keep(row)))


def _is_row(row: dict[str, Any] | None) -> TypeGuard[dict[str, Any]]:
    numbers = [row.get("step"), row.get("epoch")] if row else [None]
    return all(type(number) is int for number in numbers)


def _is_past(row: dict[str, Any], step: int, epochs: int) -> bool:
    if row.get("split") == "valid":
        return row["epoch"] < epochs
    return row["step"] <= step


def _finite_or_none(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Display:
    """A progress bar on a terminal; elsewhere a line for every row.

    Args:
        num_steps: of the whole run.
        step: steps done before.
        unit: of the ELBO.
    """

    def __init__(self, num_steps: int, step: int, unit: Unit):
        self._bar = tqdm(
            total=num_steps, initial=step, disable=None, unit="step", dynamic_ncols=True
        )
        self._num_steps, self._last_step, self._unit = num_steps, step, unit
        self._start: tuple[int, float] | None = None

    def advance(self) -> None:
        """Moves the bar by a step."""
        self._bar.update()
        self._last_step += 1
        # The first step has compiled: it says nothing about the time left.
        self._start = self._start or (self._last_step, time.monotonic())

    def show(self, row: dict[str, Any], tokens_per_second: float) -> None:
        """Shows a row of training metrics."""
        figures = {
            "loss": _figure(row["loss"]),
            self._unit.key: _figure(row[self._unit.key]),
            "kl": _figure(row["kl"]),
            "tokens/s": f"{tokens_per_second:.0f}",
        }
        if row["skipped"]:
            figures["skipped"] = str(row["skipped"])
        if self._bar.disable:
            self.say(f"{self._position(row)}  {'  '.join(f'{k} {v}' for k, v in figures.items())}")
        else:
            self._bar.set_postfix(figures)

    def say(self, text: str) -> None:
        """Prints a line without breaking the bar."""
        if self._bar.disable:
            print(text, flush=True)
        else:
            self._bar.write(text, file=sys.stderr)

    def close(self) -> None:
        """Leaves the bar as it is."""
        self._bar.close()

    def _position(self, row: dict[str, Any]) -> str:
        first, start = self._start or (self._last_step, time.monotonic())
        per_step = (time.monotonic() - start) / max(1, self._last_step - first)
        left = per_step * (self._num_steps - row["step"])
        return f"step {row['step']}/{self._num_steps}  epoch {row['epoch']}  left {_clock(left)}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
