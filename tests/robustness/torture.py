"""Kills, corrupts and starves small training runs and checks that nothing is ever lost.

    python -m tests.robustness.torture [--kills=50] [--model=af_scf]

Prints what was done and counts; the exit code is 1 if anything went otherwise than it should, else
the counts are written to results/torture.json.
"""

import argparse
import collections
import json
import random
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nlf_jax.models.config import MODELS
from nlf_jax.training.checkpoint_reading import read_parts
from nlf_jax.training.workdir import CHECKPOINTS, LINKS_VARIABLE, step_numbers
from tests.robustness import preparation
from tests.robustness.hostile import WORKDIRS, Hostile, rows_lost
from tests.robustness.soak import SoakFailure, soak
from tests.robustness.victims import (
    Ended,
    Victims,
    different_end,
    end_of,
    newest_step,
    resumed_step,
    rows_of,
)

NUM_KILLS = 50
HOSTILE_SECONDS, MAX_MEGABYTES = 120, 2500
EXIT_USER_ERROR = 2


class Failure(Exception):
    """Something went otherwise than it should; the text says what."""


class Torture:
    """The scenarios, and what they count.

    Args:
        directory: empty, for everything.
        model: of the runs.
        seed: decides the moments.
    """

    def __init__(self, directory: Path, model: str, seed: int):
        self._directory, self._model, self._random = directory, model, random.Random(seed)
        self.counts: collections.Counter[str] = collections.Counter()
        self.soaked: dict[str, Any] = {}
        self._victims = Victims(directory, (f"--model={model}",))
        self._whole = directory / "undisturbed"
        self._require(self._victims.run(self._whole), 0, "Trained")
        self._seconds = max(row["seconds"] for row in rows_of(self._whole))

    def sigkill(self, kills: int) -> None:
        """SIGKILL at random moments; a run that came to its end is followed by another."""
        workdir = self._new("killed")
        while self.counts["kills"] < kills:
            newest = newest_step(workdir)
            ended = self._kill_once(workdir)
            self._check_resumed(ended, newest)
            if ended.code == 0:
                self._check_end(workdir)
                workdir = self._new("killed")
        self._resume_to_the_end(workdir)

    def signals(self, times: int) -> None:
        """SIGTERM and SIGINT at random moments: the run saves and says where it stopped."""
        for number in (signal.SIGTERM, signal.SIGINT):
            workdir = self._new(number.name)
            for _ in range(times):
                delay = self._random.uniform(0, self._seconds / 4)
                ended = self._victims.interrupt(workdir, number, delay)
                self._require(ended, 0, "Trained" if "Trained" in ended.out else "saved after step")
                self.counts[number.name] += 1
            self._resume_to_the_end(workdir)

    def corruption(self) -> None:
        """The newest checkpoint damaged: a warning and the one before, unless it is whole without.

        Orbax writes some bytes that it does not need; the digest tells.
        """
        for damage in (_truncate, _delete, _flip):
            workdir = self._copy(damage.__name__.strip("_"))
            newest = newest_step(workdir)
            damage(_largest_file(workdir / CHECKPOINTS / str(newest) / "train"))
            before = step_numbers(workdir / CHECKPOINTS)[-2]
            ended = self._victims.run(workdir)
            noticed = "is damaged" in ended.err
            self.counts["corruptions"] += 1
            self.counts["corruptions that mattered"] += noticed
            expected = before if noticed else newest
            self._require(ended, 0, f"going on after step {expected}")
            self._check_end(workdir)

    def all_corrupt(self) -> None:
        """Every checkpoint damaged: an error, and nothing is touched."""
        workdir = self._copy("all_damaged")
        for step in step_numbers(workdir / CHECKPOINTS):
            for path in _files(workdir / CHECKPOINTS / str(step) / "model"):
                _flip(path)
        before = _contents(workdir / CHECKPOINTS)
        self._require(self._victims.run(workdir), EXIT_USER_ERROR, "none of the checkpoints")
        self.counts["corruptions"] += len(step_numbers(workdir / CHECKPOINTS))
        if _contents(workdir / CHECKPOINTS) != before:
            raise Failure("files changed although all checkpoints are damaged")

    def second_run(self) -> None:
        """A second run in the same workdir is refused, the first goes on."""
        workdir = self._new("locked")
        first = self._victims.start_and_wait(workdir)
        first.send_signal(signal.SIGSTOP)
        second = self._victims.run(workdir)
        first.send_signal(signal.SIGCONT)
        self._require(second, EXIT_USER_ERROR, "another process trains in")
        self._require(end_of(first), 0, "Trained")
        self._check_end(workdir)
        self.counts["refused runs"] += 1

    def unwritable(self) -> None:
        """A workdir that cannot be made, and one where no checkpoint can be written."""
        (self._directory / "file").write_text("")
        ended = self._victims.run(self._directory / "file/run")
        self._require(ended, EXIT_USER_ERROR, "cannot write to the workdir")
        workdir = self._new("no_checkpoints")
        (workdir / CHECKPOINTS).write_text("in the way")
        self._require(self._victims.run(workdir), EXIT_USER_ERROR, "cannot save a checkpoint")
        self.counts["refused runs"] += 2

    def disk_full(self) -> None:
        """No file can grow any more, from some moment on: the run says so and can be resumed."""
        workdir = self._new("full")
        process = self._victims.start_and_wait(workdir)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (64, 64))
        ended = end_of(process)
        self._require(ended, EXIT_USER_ERROR, "cannot")
        self.counts["full disks"] += 1
        self._resume_to_the_end(workdir)
        self._always_full()

    def _always_full(self) -> None:
        """No file can grow beyond so many bytes from the start: config, checkpoints, metrics."""
        for limit in (16, 500, 2000):
            workdir = self._new("always_full")
            ended = self._victims.run(workdir, file_bytes=limit)
            self._require(ended, EXIT_USER_ERROR, "error: cannot", short=True)
            self.counts["full disks"] += 1
            self._resume_to_the_end(workdir)
        workdir = self._copy("full_to_score")
        for mode in ("eval", "sample"):
            ended = self._victims.run(workdir, f"--mode={mode}", file_bytes=4)
            self._require(ended, EXIT_USER_ERROR, "error: cannot write", short=True)
            self.counts["full disks"] += 1
        self._check_end(workdir)

    def hostile(self, at_most: int | None = None) -> None:
        """Workdirs that someone has tampered with: a line about it, soon, and nothing lost."""
        names = list(WORKDIRS)
        for name in self._random.sample(names, at_most) if at_most else names:
            self._use_hostile(name, WORKDIRS[name])
            self.counts["hostile workdirs"] += 1
        megabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
        if megabytes > MAX_MEGABYTES:
            raise Failure(f"a command took {megabytes} MB")

    def _use_hostile(self, name: str, hostile: Hostile) -> None:
        workdir = self._copy(name.replace(" ", "_"))
        hostile.harm(workdir)
        process = self._victims.start(workdir, *hostile.flags)
        try:
            ended = end_of(process, HOSTILE_SECONDS)
        except subprocess.TimeoutExpired as error:
            process.kill()
            end_of(process)
            raise Failure(f"{name}: took more than {HOSTILE_SECONDS} seconds") from error
        self._require(ended, hostile.code, hostile.says, short=hostile.code != 0)
        lost = 0 if hostile.code else rows_lost(workdir, self._whole)
        if lost > 0:
            self.counts["losses"] += 1
            raise Failure(f"{name}: {lost} rows of metrics were lost")
        if name == "a link":
            allowed = {LINKS_VARIABLE: str(self._directory)}
            ended = self._victims.run(workdir, *hostile.flags, env=allowed)
            self._require(ended, 0, "Written to")

    def evaluations(self, times: int) -> None:
        """Several evaluations of a run at once: all end well, what they write is whole."""
        workdir, files = self._copy("evaluated"), set()
        for _ in range(times):
            started = [self._victims.start(workdir, "--mode=eval") for _ in range(4)]
            for process in started:
                self._require(end_of(process), 0, "Written to")
            files.add((workdir / "eval_test.json").read_text())
            self.counts["evaluations at once"] += len(started)
        if len(files) != 1 or list(workdir.glob("*.tmp")) or list(workdir.glob(".*")):
            raise Failure("evaluations at once wrote something else or left something behind")

    def preparation(self, kills: int) -> None:
        """Preparing data killed, or on a full disk, at any moment: the next gives the same data."""
        source = self._directory / "rolls"
        preparation.write_source(source)
        process = preparation.start(source, self._directory / "rolls_cache")
        began = time.monotonic()
        expected = end_of(process).out
        seconds = time.monotonic() - began
        for number in range(kills):
            cache = self._directory / f"rolls_cache-{number}"
            process = preparation.start(source, cache)
            try:
                process.wait(self._random.uniform(0, seconds))
            except subprocess.TimeoutExpired:
                process.kill()
                self.counts["kills of preparing data"] += 1
            end_of(process)
            self._require_data(self._prepared(source, cache), expected)
        for number, limit in enumerate((0, 1000, 100_000)):
            cache = self._directory / f"rolls_full-{number}"
            ended = end_of(preparation.start(source, cache, file_bytes=limit))
            self._require(ended, EXIT_USER_ERROR, "error: ", short=True)
            self.counts["full disks"] += 1
            self._require_data(self._prepared(source, cache), expected)

    def _prepared(self, source: Path, cache: Path) -> str:
        ended = end_of(preparation.start(source, cache))
        self._require(ended, 0)
        return ended.out

    def _require_data(self, found: str, expected: str) -> None:
        if found != expected:
            self.counts["losses"] += 1
            raise Failure(f"other data were prepared: {found}, not {expected}")

    def not_finite(self) -> None:
        """A learning rate that overflows: ten skipped steps stop the run, good parameters stay."""
        workdir = self._new("not_finite")
        wild = ("optimizer=sgd", "learning_rate=1e30", "grad_clip=1e30")
        ended = self._victims.run(workdir, *(f"--config.{option}" for option in wild))
        self._require(ended, EXIT_USER_ERROR, "not finite in 10 steps in a row")
        parts = read_parts(workdir / CHECKPOINTS, newest_step(workdir), ("model", "meta"))
        network = {name: v for name, v in parts["model"].items() if name.startswith("network")}
        wrong = [name for name, value in network.items() if not np.isfinite(value).all()]
        if wrong or not network:
            raise Failure(f"parameters that are not finite were saved: {wrong}")
        self.counts["skipped steps"] += sum(row.get("skipped", 0) for row in rows_of(workdir))

    def soak(self, num_steps: int) -> None:
        """Trains and samples for long."""
        self.soaked = soak(self._directory, self._model, num_steps)

    def _kill_once(self, workdir: Path) -> Ended:
        """Kills at any moment of a run, one time in five before its first metrics."""
        if self._random.random() < 0.2:
            process = self._victims.start(workdir)
        else:
            process = self._victims.start_and_wait(workdir)
        try:
            process.wait(self._random.uniform(0, self._seconds / 3))
        except subprocess.TimeoutExpired:
            process.kill()
            ended = end_of(process)
            self.counts["kills"] += 1
            saving = any(workdir.glob(f"{CHECKPOINTS}/*tmp*"))
            self.counts["kills in the middle of a save"] += saving
            return ended
        ended = end_of(process)
        self._require(ended, 0, "Trained")
        return ended

    def _resume_to_the_end(self, workdir: Path) -> None:
        newest = newest_step(workdir)
        ended = self._victims.run(workdir)
        self._require(ended, 0, "Trained")
        self._check_resumed(ended, newest)
        self._check_end(workdir)

    def _check_resumed(self, ended: Ended, newest: int) -> None:
        found = resumed_step(ended.out)
        self.counts["resumes"] += bool(found)
        if found is not None and found != newest:
            self.counts["losses"] += 1
            raise Failure(f"went on after step {found}, though {newest} was saved\n{ended.err}")

    def _check_end(self, workdir: Path) -> None:
        difference = different_end(workdir, self._whole)
        self.counts["runs that ended as undisturbed"] += difference is None
        if difference is not None:
            self.counts["losses"] += 1
            raise Failure(f"{workdir.name}: {difference}")

    def _require(self, ended: Ended, code: int, *texts: str, short: bool = False) -> None:
        """``short``: what is wrong is told in one line, besides warnings."""
        missing = [text for text in texts if text not in ended.out + ended.err]
        lines = [line for line in ended.err.splitlines() if line.startswith("error: ")]
        wrong = "Traceback" in ended.err or (short and len(lines) != 1)
        if ended.code != code or missing or wrong:
            raise Failure(f"exit code {ended.code}, not {code}; lacks {missing}:\n{ended.err}")

    def _new(self, name: str) -> Path:
        number = sum(1 for _ in self._directory.glob(f"{name}-*"))
        path = self._directory / f"{name}-{number}"
        path.mkdir()
        return path

    def _copy(self, name: str) -> Path:
        return Path(shutil.copytree(self._whole, self._directory / f"copy_{name}"))


SCENARIOS: dict[str, Callable[[Torture, argparse.Namespace], object]] = {
    "kills": lambda torture, asked: torture.sigkill(asked.kills),
    "signals": lambda torture, asked: torture.signals(max(1, asked.kills // 5)),
    "corruption": lambda torture, _: torture.corruption(),
    "all corrupt": lambda torture, _: torture.all_corrupt(),
    "second run": lambda torture, _: torture.second_run(),
    "unwritable": lambda torture, _: torture.unwritable(),
    "disk full": lambda torture, _: torture.disk_full(),
    "hostile": lambda torture, asked: torture.hostile(None if asked.kills >= NUM_KILLS else 3),
    "evaluations": lambda torture, asked: torture.evaluations(max(1, asked.kills // 5)),
    "preparation": lambda torture, asked: torture.preparation(asked.kills),
    "not finite": lambda torture, _: torture.not_finite(),
    "soak": lambda torture, asked: torture.soak(asked.soak_steps),
}


def main() -> int:
    """Runs every scenario; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=NUM_KILLS)
    parser.add_argument("--model", choices=MODELS, default="af_scf")
    parser.add_argument("--soak_steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", choices=SCENARIOS, help="repeatable")
    parser.add_argument("--output", type=Path, default=Path("results/torture.json"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        report, failures = _torture(Path(directory), arguments)
    report["command"] = shlex.join(["python", "-m", "tests.robustness.torture", *sys.argv[1:]])
    report["is_short"] = arguments.kills < NUM_KILLS or bool(arguments.only)
    print(json.dumps(report, indent=2))
    if not failures:
        arguments.output.parent.mkdir(exist_ok=True)
        arguments.output.write_text(json.dumps(report, indent=2) + "\n")
    return int(failures > 0)


def _torture(directory: Path, arguments: argparse.Namespace) -> tuple[dict, int]:
    torture, failures = Torture(directory, arguments.model, arguments.seed), 0
    for name in arguments.only or SCENARIOS:
        start = time.monotonic()
        try:
            SCENARIOS[name](torture, arguments)
            verdict = "as it should be"
        except (Failure, SoakFailure, subprocess.TimeoutExpired) as failure:
            failures += 1
            verdict = f"FAILED: {failure}"
        print(f"{name:<12}{time.monotonic() - start:>7.0f} s  {verdict}", flush=True)
    counts = {"losses": 0} | dict(torture.counts)
    return {"counts": counts, "soak": torture.soaked, "failed_scenarios": failures}, failures


def _files(directory: Path) -> list[Path]:
    """Those that are not empty."""
    return sorted(p for p in directory.rglob("*") if p.is_file() and p.stat().st_size)


def _largest_file(directory: Path) -> Path:
    return max(_files(directory), key=lambda path: path.stat().st_size)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _delete(path: Path) -> None:
    path.unlink()


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _contents(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in _files(directory)}


if __name__ == "__main__":
    sys.exit(main())
