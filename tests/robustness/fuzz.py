"""Feeds millions of hostile inputs to what reads files, configs and flags.

    python -m tests.robustness.fuzz [--target=all] [--inputs=400000]

Allowed is to accept an input or to refuse it with a UserError, within a gigabyte and 5 seconds of
the processor, without writing elsewhere or running code. Coverage-guided, by atheris; besides come
inputs that are made to take long (``tests.robustness.bombs``). Prints counts; if all is well they
are written to results/fuzz.json, else the exit code is 1 and each failing input is
kept in runs/fuzz.
"""

import argparse
import functools
import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.robustness.fuzz_child import COUNTS, FOUND, open_counts
from tests.robustness.fuzz_targets import TARGETS

NUM_INPUTS = 400_000
# A process keeps about 15 KB for each MIDI input, without atheris nothing; its limit is a gigabyte.
INPUTS_PER_PROCESS = 40_000
KEPT = Path("runs/fuzz")
_IN_MEMORY = Path("/dev/shm")
_ROOT = Path(__file__).parents[2]
_NO_ATHERIS = (
    "error: fuzzing needs atheris, which there is for Python 3.11 to 3.14 on x86-64 Linux: "
    'pip install "nlf_jax[fuzz]".'
)


class Failure(Exception):
    """An input did what none may; the text says what and where the input is."""


def fuzz(target: str, inputs: int, seed: int) -> dict[str, Any]:
    """Fuzzes one reader in processes of its own, one after the other, which share what they find.

    Returns:
        How many inputs it was given, how many of them it accepted and refused, and the seconds.

    Raises:
        Failure: a process ended before all its inputs were read.
    """
    start = time.monotonic()
    with tempfile.TemporaryDirectory(dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None) as name:
        directory = Path(name)
        (directory / COUNTS).write_bytes(bytes(16))
        for before in range(0, inputs, INPUTS_PER_PROCESS):
            number = min(INPUTS_PER_PROCESS, inputs - before)
            arguments = [target, str(directory), str(number), str(seed + before)]
            ended = _run("tests.robustness.fuzz_child", *arguments)
            accepted, refused = open_counts(directory).tolist()
            if ended.returncode or accepted + refused < before + number:
                raise Failure(f"{_problem(ended)}; {_keep(directory, target)}")
    counts = {"inputs": accepted + refused, "accepted": accepted, "refused": refused}
    return counts | {"seconds": round(time.monotonic() - start)}


def drop_bombs() -> dict[str, Any]:
    """What each of the made inputs took.

    Raises:
        Failure: one took too much, or ended otherwise than with a UserError.
    """
    ended = _run("tests.robustness.bombs")
    if ended.returncode:
        raise Failure(_problem(ended))
    return json.loads(ended.stdout)


def main() -> int:
    """Fuzzes every target asked for; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", choices=["all", *TARGETS], default="all")
    parser.add_argument(
        "--inputs", type=int, default=NUM_INPUTS, help="for each target; fewer where one takes long"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("results/fuzz.json"))
    arguments = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print(_NO_ATHERIS, file=sys.stderr)
        return 2
    report, failures = _fuzz_all(arguments)
    print(json.dumps(report, indent=2))
    if not failures:
        arguments.output.parent.mkdir(exist_ok=True)
        arguments.output.write_text(json.dumps(report, indent=2) + "\n")
    return int(failures > 0)


def _fuzz_all(arguments: argparse.Namespace) -> tuple[dict[str, Any], int]:
    chosen = TARGETS if arguments.target == "all" else [arguments.target]
    jobs: dict[str, Callable[[], dict[str, Any]]] = {
        name: functools.partial(fuzz, name, _share(name, arguments.inputs), arguments.seed)
        for name in chosen
    }
    if arguments.target == "all":
        jobs["bombs"] = drop_bombs
    results, failures = {}, 0
    for name, job in jobs.items():
        try:
            results[name] = job()
            verdict = "only UserErrors" if name == "bombs" else _in_words(results[name])
        except Failure as failure:
            failures += 1
            verdict = f"FAILED: {failure}"
        print(f"{name:<12}{verdict}", flush=True)
    return _report(results, arguments.inputs) | {"failed": failures}, failures


def _share(name: str, inputs: int) -> int:
    return max(1, inputs // TARGETS[name].cost)


def _report(results: dict[str, Any], inputs: int) -> dict[str, Any]:
    bombs = results.pop("bombs", {})
    return {
        "inputs": sum(counts["inputs"] for counts in results.values()),
        "targets": results,
        "bombs": bombs,
        "command": shlex.join(["python", "-m", "tests.robustness.fuzz", *sys.argv[1:]]),
        "is_short": inputs < NUM_INPUTS or len(results) < len(TARGETS),
    }


def _in_words(counts: dict[str, int]) -> str:
    return (
        f"{counts['inputs']:,} inputs in {counts['seconds']} s: {counts['accepted']:,} accepted, "
        f"{counts['refused']:,} refused"
    )


def _run(module: str, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(
        command, cwd=_ROOT, capture_output=True, text=True, errors="replace", check=False
    )


def _problem(ended: subprocess.CompletedProcess) -> str:
    """The line of the error output that tells what happened."""
    patterns = (r"Uncaught Python exception: ===\n(.+)", r"SUMMARY: (.+)", r"(.+)\n?\Z")
    found = (re.search(pattern, ended.stderr) for pattern in patterns)
    return next((match[1] for match in found if match), f"exit code {ended.returncode}")


def _keep(directory: Path, target: str) -> str:
    paths = list(directory.glob(f"{FOUND}*"))
    KEPT.mkdir(parents=True, exist_ok=True)
    kept = [shutil.copyfile(p, KEPT / f"{target}-{p.name.removeprefix(FOUND)}") for p in paths]
    return f"the input is {kept[0]}" if kept else "its input is not known"


if __name__ == "__main__":
    sys.exit(main())
