"""Times the package beside that of another commit, cell by cell, in turn.

    python -m benchmarks.compare --before=HEAD~3 --only=train/paper/lstm,train/small

Each has a process of its own and they take turns, so that whatever else the machine does meets
both. Prints the ratios of medians, before over now, and the memory that each was seen to take;
``--output`` keeps them as JSON, after each cell.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from benchmarks.cell_process import ROOT, CellProcess
from benchmarks.speed import select
from benchmarks.speed_cases import Case, gated_cases, table_cases
from benchmarks.timing import SHORT, command_of, repeats_for
from nlf_jax.cli.exit_codes import exit_code
from nlf_jax.errors import UserError
from nlf_jax.files import write_atomically

AT_LEAST = 7


def package_of(commit: str, folder: Path) -> Path:
    """The folder with the package as it was at a commit.

    Raises:
        UserError: git knows no such commit.
    """
    command = ["git", "archive", "--format=tar", commit, "nlf_jax"]
    archive = subprocess.run(command, cwd=ROOT, capture_output=True)
    if archive.returncode:
        raise UserError(f"--before={commit}: {archive.stderr.decode(errors='replace').strip()}")
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


def compare(case: Case, before: Path, quick: bool) -> dict[str, Any]:
    """The figures of a cell with the package in ``before`` and with that here."""
    with CellProcess(case, before) as old, CellProcess(case) as new:
        both = {"before": old, "now": new}
        first = max(process.call() for process in both.values())
        seconds: dict[str, list[float]] = {side: [] for side in both}
        for _ in range(repeats_for(2 * first, quick, AT_LEAST)):
            for side, process in both.items():
                if first < SHORT:
                    process.call()
                seconds[side].append(process.call())
        medians = {side: statistics.median(values) for side, values in seconds.items()}
        sides = {side: _figures(both[side], seconds[side]) for side in both}
    return {"name": case.name, "ratio": medians["before"] / medians["now"]} | sides


def _figures(process: CellProcess, seconds: list[float]) -> dict[str, Any]:
    return {
        "seconds": [round(value, 5) for value in seconds],
        "planned_mbytes": process.planned_mbytes,
        "compiling_mbytes": process.compiling_mbytes,
        "resident_mbytes": process.resident_mbytes(),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Compares every cell that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare")
    parser.add_argument("--before", required=True, help="a commit")
    parser.add_argument("--only", default="", help="parts of cells' names, commas between")
    parser.add_argument("--quick", action="store_true", help="one repeat of each cell")
    parser.add_argument("--output", type=Path, help="the JSON")
    options = parser.parse_args(argv)
    cells = select((*table_cases(), *gated_cases()), options.only)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        before = package_of(options.before, Path(folder))
        for cell in cells:
            rows.append(compare(cell, before, options.quick))
            print(_line(rows[-1]), flush=True)
            if options.output:
                _write(options.output, rows, argv)


def _line(row: dict[str, Any]) -> str:
    memory = (f"{row[side]['resident_mbytes']:.0f}" for side in ("before", "now"))
    return f"{row['name']:<44}{row['ratio']:>7.2f}   {' -> '.join(memory)} MB"


def _write(path: Path, rows: list[dict[str, Any]], argv: Sequence[str] | None) -> None:
    command = command_of("compare", argv)
    report = {"command": command, "cores": os.cpu_count(), "cells": rows}
    write_atomically(path, json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(exit_code(main))
