"""Measures training, scoring and generation beside the authors' code: one table, and JSON.

    python -m benchmarks.speed                          every cell of the table
    python -m benchmarks.speed --sweep                  and how cost grows with T, B, S and D
    python -m benchmarks.speed --only=generate/small    cells whose names contain it, or a,b,..
    python -m benchmarks.speed --quick --only=train     one repeat

Medians over repeats after a warm-up. ``ratio`` is ``theirs`` over ours: the authors' published
seconds, which another machine took (two cores, MKL, about 20% noise); a layer's are those of the
named implementation, here and in turn with ours. ``scaled`` is an estimate of the ratio on one
machine: the authors' seconds times the rate of a float32 product there, taken as 100 GFLOP/s,
over ours times the rate here. ``matmul`` is the achieved part of the latter (two 2048 x 2048
matrices, measured between the repeats); operations are those of the program's matrix products.
``in RAM MB`` is the most memory of a process that does nothing else, compiling left out.
``reading`` is the part of the rate at which 256 MB are read that reading the weights of one
generated sequence reaches; above 1 the weights come from a cache. ``in turn`` is the longest chain
of rounds of loops that wait for each other, read from the program, which no machine changes.
Cells measured earlier stay in the JSON until they are measured again, so that it can be filled in
pieces.
"""

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax

from benchmarks.cell_process import CellProcess
from benchmarks.speed_cases import Case, gated_cases, sweep_cases, table_cases
from benchmarks.speed_lstm import LayerCase, layer_cases
from benchmarks.speed_report import HEADER, draw_generation, row
from benchmarks.timing import (
    Call,
    Compiled,
    Reference,
    compile_program,
    make_references,
    time_in_turn,
)
from nlf_jax.cli.exit_codes import exit_code
from nlf_jax.errors import UserError

# Operations a second of a float32 product on the machine of the published figures, where it
# varied from 75 to 130 GFLOP/s.
REFERENCE_RATE = 100e9
Named = TypeVar("Named", bound=Case | LayerCase)


def measure(
    case: Case | LayerCase, references: dict[str, Reference], quick: bool
) -> list[dict[str, Any]]:
    """A case's cell, or one for each other implementation that it has beside it."""
    program = case.program()
    compiled = compile_program(program)
    calls = {name: reference.call for name, reference in references.items()}
    calls |= {"ours": compiled.call}
    calls |= {name: call for name, call in program.rivals.items() if callable(call)}
    times = time_in_turn(calls, quick)
    rates = {n: r.amount / statistics.median(times[n]) for n, r in references.items()}
    cell = figures(case, compiled, times["ours"], rates)
    cell["resident_mbytes"] = resident_mbytes(case) if isinstance(case, Case) else None
    return list(beside(cell, program.rivals, times)) or [cell]


def figures(
    case: Case | LayerCase, compiled: Compiled, times: list[float], rates: dict[str, float]
) -> dict[str, Any]:
    """All figures of a cell, given the seconds of its calls and the machine's rates."""
    seconds, theirs = statistics.median(times), case.published
    return {
        "name": case.name,
        "seconds": seconds,
        "fastest": min(times),
        "slowest": max(times),
        "repeats": len(times),
        "theirs": theirs,
        "ratio": theirs and theirs / seconds,
        "scaled": theirs and theirs * REFERENCE_RATE / (seconds * rates["matmul"]),
        "gflops": compiled.flops / seconds / 1e9,
        "matmul_gflops": rates["matmul"] / 1e9,
        "matmul_fraction": compiled.flops / seconds / rates["matmul"],
        "read_gbytes": rates["read"] / 1e9,
        "reading_fraction": compiled.read / seconds / rates["read"] if case.reads_weights else None,
        "compile_seconds": compiled.seconds,
        "peak_mbytes": compiled.peak / 1e6,
        "sequential_steps": compiled.sequential,
    }


def resident_mbytes(case: Case) -> float:
    """The most memory that a process takes which does nothing but a call of this program."""
    with CellProcess(case) as process:
        return process.resident_mbytes()


def beside(
    cell: dict[str, Any], rivals: Mapping[str, Call | str], times: dict[str, list[float]]
) -> Iterator[dict[str, Any]]:
    """For each rival our cell and what it took in the same run, or why it was not measured."""
    for rival, call in rivals.items():
        name = {"name": f"{cell['name']}/{rival}"}
        if isinstance(call, str):
            yield name | {"note": call}
        else:
            theirs = statistics.median(times[rival])
            yield cell | name | {"theirs": theirs, "ratio": theirs / cell["seconds"]}


def machine() -> dict[str, Any]:
    """What the figures depend on besides the code."""
    return {
        "cpus": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "devices": [str(device) for device in jax.devices()],
        "jax": jax.__version__,
        "python": platform.python_version(),
        "glibc_tunables": os.environ.get("GLIBC_TUNABLES", ""),
    }


def select(cases: Sequence[Named], only: str) -> list[Named]:
    """The cases whose names contain one of the comma-separated parts; "" selects all.

    Raises:
        UserError: a part is in no name.
    """
    parts = [part for part in only.split(",") if part]
    for part in parts:
        if not any(part in case.name for case in cases):
            raise UserError(
                f"--only={part}: no cell's name has it; names are like {cases[0].name}"
                " (sweep-... needs --sweep)"
            )
    return [case for case in cases if not parts or any(part in case.name for part in parts)]


def read_cells(path: Path) -> dict[str, dict[str, Any]]:
    """Cells by name of an earlier run's JSON, or none."""
    if not path.is_file():
        return {}
    try:
        return {cell["name"]: cell for cell in json.loads(path.read_text())["cells"]}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} was not written by this command: remove it ({error})") from error


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default="", help="parts of cells' names, commas between")
    parser.add_argument("--sweep", action="store_true", help="also how cost grows with T, B, S, D")
    parser.add_argument("--quick", action="store_true", help="one repeat of each cell")
    parser.add_argument("--output", default="results/bench.json", help="the JSON")
    parser.add_argument("--plot", default="docs/generation_time.png", help="the picture")
    return parser.parse_args(argv)


def run(options: argparse.Namespace, cases: Sequence[Case | LayerCase]) -> None:
    """Measures cell by cell; the JSON is whole after each."""
    output, chosen = Path(options.output), select(cases, options.only)
    cells, references = read_cells(output), make_references()
    print(HEADER, flush=True)
    for case in chosen:
        for cell in measure(case, references, options.quick):
            cells[cell["name"]] = cell
            print(row(cell), flush=True)
        output.parent.mkdir(parents=True, exist_ok=True)
        content = {"machine": machine(), "cells": list(cells.values())}
        output.write_text(json.dumps(content, indent=1) + "\n")
    draw_generation(cells, Path(options.plot))


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 2 after a user's mistake, told in one line."""
    options = parse(argv)
    cases = [
        *table_cases(),
        *gated_cases(),
        *layer_cases(),
        *(sweep_cases() if options.sweep else ()),
    ]
    return exit_code(lambda: run(options, cases))


if __name__ == "__main__":
    sys.exit(main())
