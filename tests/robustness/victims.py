"""Small training runs in processes of their own, for others to disturb."""

import dataclasses
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nlf_jax.files import read_rows
from nlf_jax.training.checkpoint_reading import read_parts
from nlf_jax.training.workdir import CHECKPOINTS, step_numbers

FLAGS = ("--size=tiny", "--config.checkpoint_every=2", "--config.num_epochs=10")
TIMEOUT = 600
_ROOT = Path(__file__).parents[2]


class Ended(NamedTuple):
    """How a process ended: exit code (minus the signal's number), output and error output."""

    code: int
    out: str
    err: str


@dataclasses.dataclass(frozen=True)
class Victims:
    """Makes runs that are all the same, of 110 steps with a save every other step.

    Attributes:
        directory: for the text that they train on, and their compiled programs.
        flags: more flags for all of them.
    """

    directory: Path
    flags: tuple[str, ...] = ()

    @property
    def text_file(self) -> Path:
        """180 random lines of up to 15 letters."""
        path = self.directory / "lines.txt"
        if not path.exists():
            draw = random.Random(5)
            lines = ("".join(draw.choices("abcdef", k=draw.randint(1, 15))) for _ in range(180))
            path.write_text("\n".join(lines))
        return path

    def start(
        self,
        workdir: Path,
        *flags: str,
        file_bytes: int | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen:
        """Starts the run of a workdir, or goes on with it.

        Args:
            file_bytes: no file can grow larger, as on a full disk.
            env: more of the environment.
        """
        program = ["-m", "experiments.text", f"--text_file={self.text_file}"]
        arguments = [*program, f"--workdir={workdir}", *FLAGS, *self.flags, *flags]
        return start_python(arguments, self.directory / "cache", file_bytes, env)

    def run(
        self,
        workdir: Path,
        *flags: str,
        file_bytes: int | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Ended:
        """Lets a run end by itself."""
        return end_of(self.start(workdir, *flags, file_bytes=file_bytes, env=env))

    def start_and_wait(self, workdir: Path, *flags: str) -> subprocess.Popen:
        """Starts a run and waits until it has written a row of metrics."""
        process, seen = self.start(workdir, *flags), len(rows_of(workdir))
        while process.poll() is None and len(rows_of(workdir)) <= seen:
            time.sleep(0.01)
        return process

    def interrupt(self, workdir: Path, number: signal.Signals, delay: float) -> Ended:
        """Sends a signal so many seconds after a run's first row of metrics."""
        process = self.start_and_wait(workdir)
        time.sleep(delay)
        process.send_signal(number)
        return end_of(process)


def start_python(
    arguments: list[str],
    cache: Path,
    file_bytes: int | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen:
    """Starts Python in the checkout, with a cache of its own; see ``Victims.start``."""
    limit = [] if file_bytes is None else ["prlimit", f"--fsize={file_bytes}:{file_bytes}"]
    return subprocess.Popen(
        [*limit, sys.executable, *arguments],
        cwd=_ROOT,
        env=os.environ | {"NLF_CACHE_DIR": str(cache)} | dict(env or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end_of(process: subprocess.Popen, seconds: float = TIMEOUT) -> Ended:
    """Waits for a process."""
    out, err = process.communicate(timeout=seconds)
    return Ended(process.returncode, out, err)


def rows_of(workdir: Path) -> list[dict[str, Any]]:
    """The whole rows of metrics so far."""
    path = workdir / "metrics.jsonl"
    return read_rows(path) if path.exists() else []


def newest_step(workdir: Path) -> int:
    """Of the checkpoints; 0 if there is none."""
    return max(step_numbers(workdir / CHECKPOINTS), default=0)


def resumed_step(out: str) -> int | None:
    """The step that a run says it goes on after, 0 if it begins; None if it did not come so far."""
    if "parameters, " not in out:
        return None
    over = r"parameters, ([\d,]+) steps.*\n.*The run is complete"
    found = re.search(over, out) or re.search(r"going on after step ([\d,]+)", out)
    return int(found[1].replace(",", "")) if found else 0


def different_end(workdir: Path, expected: Path) -> str | None:
    """What differs at the end of two runs in state or metrics, in words; None if nothing does."""
    step, expected_step = newest_step(workdir), newest_step(expected)
    if step != expected_step:
        return f"ended at step {step}, not {expected_step}"
    digests = [
        read_parts(path / CHECKPOINTS, step, ("model", "train", "meta"))["meta"]["sha256"]
        for path in (workdir, expected)
    ]
    # The host's part has the seconds of training in it.
    if any(digests[0][part] != digests[1][part] for part in ("model", "train")):
        return f"other parameters or optimiser: {json.dumps(digests)}"
    scores = [[r["bpc"] for r in rows_of(w) if r["split"] == "valid"] for w in (workdir, expected)]
    if scores[0] != scores[1]:
        return f"other validation scores: {scores}"
    steps = [row["step"] for row in rows_of(workdir) if row["split"] == "train"]
    return None if steps == sorted(set(steps)) else f"metrics have steps twice: {steps}"
