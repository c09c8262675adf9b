"""What a step's time goes into: matrix products, other kernels, inside of loops and outside.

    python -m benchmarks.shares --only=train/paper/lstm,train/small/af_scf --output=shares.json

Reads the profile of a few calls on a CPU. Run it on one core (``taskset -c 0``): then kernels don't
overlap and their times add up. A loop's own share is what its rounds take beside their kernels.
"""

import argparse
import collections
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
from jax.profiler import ProfileData

from benchmarks.speed import select
from benchmarks.speed_cases import Case, gated_cases, table_cases
from benchmarks.timing import Call, command_of, compile_program
from nlf_jax.cli.exit_codes import exit_code
from nlf_jax.errors import UserError
from nlf_jax.files import write_atomically

CALLS = 3
# Names that XLA gives products on a CPU; a few of YNN's are sums along an axis.
_PRODUCT = re.compile(r"(dot|ynn_fusion)[.\d]*$")
_LOOP = re.compile(r"while[.\d]*$")
_THREADS = "tf_XLA"
# What is run more often than this in one call is in a loop.
_OFTEN = 20


def kernel_times(call: Call) -> list[tuple[str, float, float]]:
    """Name, runs and milliseconds of every kernel in one call."""
    jax.block_until_ready(call())
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(CALLS):
                jax.block_until_ready(call())
        (file,) = Path(folder).rglob("*.xplane.pb")
        lines = [line for plane in ProfileData.from_file(str(file)).planes for line in plane.lines]
        threads = [line for line in lines if line.name.startswith(_THREADS)]
    runs, nanoseconds = collections.Counter(), collections.Counter()
    for event in (event for thread in threads for event in thread.events):
        runs[event.name] += 1
        nanoseconds[event.name] += event.duration_ns
    return [(name, runs[name] / CALLS, nanoseconds[name] / CALLS / 1e6) for name in runs]


def shares(kernels: Iterable[tuple[str, float, float]]) -> dict[str, float]:
    """Milliseconds of each kind of kernel, and of the rounds of loops beside their kernels."""
    found: dict[str, float] = collections.defaultdict(float)
    loops = 0.0
    for name, runs, milliseconds in kernels:
        if _LOOP.match(name):
            loops += milliseconds
        elif "::" not in name:
            kind = "products" if _PRODUCT.match(name) else "others"
            found[f"{kind}, {'in loops' if runs > _OFTEN else 'once'}"] += milliseconds
    in_loops = sum(value for kind, value in found.items() if kind.endswith("in loops"))
    return dict(found) | {"loops themselves": max(loops - in_loops, 0.0)}


def measure(case: Case) -> dict[str, Any]:
    """The figures of a cell.

    Raises:
        UserError: the profile names no kernels, as on another platform than a CPU.
    """
    kernels = kernel_times(compile_program(case.program()).call)
    found = shares(kernels)
    total = sum(found.values())
    if total == 0:
        raise UserError("the profile names no kernels: this reads that of a CPU.")
    rounded = {kind: round(value, 2) for kind, value in sorted(found.items())}
    products = sum(value for kind, value in found.items() if kind.startswith("products"))
    return {"name": case.name, "milliseconds": rounded, "products": round(products / total, 3)}


def main(argv: Sequence[str] | None = None) -> None:
    """Prints a line for every cell that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shares")
    parser.add_argument("--only", default="", help="parts of cells' names, commas between")
    parser.add_argument("--output", type=Path, help="the JSON")
    options = parser.parse_args(argv)
    rows = []
    for case in select((*table_cases(), *gated_cases()), options.only):
        rows.append(measure(case))
        print(json.dumps(rows[-1]), flush=True)
    if options.output:
        command = command_of("shares", argv)
        cores = len(os.sched_getaffinity(0))
        report = {"command": command, "cores": cores, "cells": rows}
        write_atomically(options.output, json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(exit_code(main))
