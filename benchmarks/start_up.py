"""Seconds from a command to its first training step, and to a trained model's first sample.

    python -m benchmarks.start_up --output=results/start_up.json

Each command is started once before, so that data are prepared and programs compiled: what is
measured is the start on a machine that has run it before. Medians of 5, processes included.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.cell_process import ROOT
from nlf_jax.cli.exit_codes import exit_code
from nlf_jax.errors import UserError
from nlf_jax.files import write_atomically

REPEATS = 5
_TRAIN = ("--mode=train", "--config.log_every=1", "--workdir=run")
# The command, and how the line begins that ends the wait.
COMMANDS = {
    "quick start, first step": (("experiments.quickstart", *_TRAIN), "step 1/"),
    "ptb_char, first step": (("experiments.ptb_char", *_TRAIN), "step 1/"),
    "sample of pretrained:king_james": (
        ("nlf_jax.cli.main", "sample", "pretrained:king_james", "--num_samples=1"),
        "1: ",
    ),
}


def seconds_until(command: Sequence[str], begins: str) -> float:
    """Seconds from starting a module to a line that begins so; it is then stopped.

    Raises:
        UserError: it ended without such a line.
    """
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        with subprocess.Popen(
            [sys.executable, "-m", *command],
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        ) as process:
            assert process.stdout is not None
            found = any(line.startswith(begins) for line in process.stdout)
            seconds = time.monotonic() - start
            process.kill()
    if not found:
        raise UserError(f"{shlex.join(command)} ended without a line that begins {begins!r}.")
    return seconds


def main(argv: Sequence[str] | None = None) -> None:
    """Prints, and maybe keeps, the seconds of every command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start_up")
    parser.add_argument("--output", type=Path, help="the JSON")
    options = parser.parse_args(argv)
    report: dict[str, Any] = {"cores": len(os.sched_getaffinity(0))}
    for name, (command, begins) in COMMANDS.items():
        first, *seconds = (seconds_until(command, begins) for _ in range(1 + REPEATS))
        report[name] = {"median": round(statistics.median(seconds), 2)}
        report[name] |= {"seconds": [round(each, 2) for each in seconds], "before": round(first, 2)}
        print(f"{name}: {report[name]['median']} s", flush=True)
    if options.output:
        write_atomically(options.output, json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(exit_code(main))
