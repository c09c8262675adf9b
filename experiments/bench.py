"""Measures training, scoring and generation beside the authors' code: one table, and JSON.

    python -m experiments.bench                          every cell of the table
    python -m experiments.bench --sweep                  and how cost grows with T, B, S and D
    python -m experiments.bench --only=generate/small    cells whose names contain it, or a,b,..
    python -m experiments.bench --quick --only=train     one repeat

Medians over repeats after a warm-up. `ratio` is the authors' published seconds (two cores, MKL,
about 20% noise) over ours. `matmul` is the achieved part of this machine's rate for a float32
product of two 2048 x 2048 matrices, measured between the repeats; operations are counted from
shapes. `reading` is the part of the rate at which 256 MB are read that reading the weights of one
generated sequence reaches; above 1 the weights come from a cache. Cells measured earlier stay in
the JSON until they are measured again, so that it can be filled in pieces.
"""

import argparse
import functools
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.bench_cases import Case, Program, make_program, sweep_cases, table_cases
from experiments.bench_report import HEADER, draw_generation, row
from nlf_jax.errors import UserError

SECONDS_PER_CELL = 10.0


class Reference(NamedTuple):
    """Something simple that the machine does, and how many operations or bytes that is."""

    call: Callable[[], Any]
    amount: int


def seconds_of(call: Callable[[], Any]) -> float:
    """Wall time of one call, its results waited for."""
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


def make_references(matmul_size: int = 2048, read_bytes: int = 2**28) -> dict[str, Reference]:
    """The machine's own rates: a square product, and a matrix-vector product that reads."""
    square, columns = jnp.ones((matmul_size, matmul_size)), 4096
    matrix = jnp.ones((read_bytes // 4 // columns, columns))
    product = jax.jit(jnp.matmul)
    return {
        "matmul": Reference(functools.partial(product, square, square), 2 * matmul_size**3),
        "read": Reference(functools.partial(product, matrix, matrix[0]), read_bytes),
    }


def compile_program(program: Program) -> tuple[Any, float, int]:
    """The compiled program, the seconds that took and the bytes it needs at its peak."""
    start = time.perf_counter()
    compiled = program.function.lower(*program.arguments).compile()
    seconds = time.perf_counter() - start
    memory = compiled.memory_analysis()
    size = memory.argument_size_in_bytes + memory.output_size_in_bytes
    return compiled, seconds, size + memory.temp_size_in_bytes - memory.alias_size_in_bytes


def repeats_for(warm: float, quick: bool) -> int:
    """Repeats that fit into the time for a cell: 3 to 30, or 1."""
    return 1 if quick else int(min(30, max(3, SECONDS_PER_CELL / warm)))


def time_program(
    compiled: Any, program: Program, references: dict[str, Reference], quick: bool
) -> dict[str, list[float]]:
    """Seconds of every repeat, and of the references in between."""
    arguments = program.arguments

    def call():
        nonlocal arguments
        result = compiled(*arguments)
        arguments = program.following(result, arguments)
        return result

    calls = {name: reference.call for name, reference in references.items()} | {"seconds": call}
    warm = {name: seconds_of(call) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats_for(warm["seconds"], quick)):
        for name, timed in calls.items():
            times[name].append(seconds_of(timed))
    return times


def measure(case: Case, references: dict[str, Reference], quick: bool) -> dict[str, Any]:
    """All figures of a cell."""
    program = make_program(case)
    compiled, compile_seconds, peak = compile_program(program)
    times = time_program(compiled, program, references, quick)
    median = {name: statistics.median(values) for name, values in times.items()}
    seconds, weights = median["seconds"], case.weight_bytes()
    matmul_rate, read_rate = (references[n].amount / median[n] for n in ("matmul", "read"))
    return {
        "name": case.name,
        "seconds": seconds,
        "fastest": min(times["seconds"]),
        "slowest": max(times["seconds"]),
        "repeats": len(times["seconds"]),
        "published": case.published,
        "ratio": case.published and case.published / seconds,
        "gflops": case.flops() / seconds / 1e9,
        "matmul_gflops": matmul_rate / 1e9,
        "matmul_fraction": case.flops() / seconds / matmul_rate,
        "read_gbytes": read_rate / 1e9,
        "reading_fraction": weights and weights / seconds / read_rate,
        "compile_seconds": compile_seconds,
        "peak_mbytes": peak / 1e6,
    }


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


def select(cases: Sequence[Case], only: str) -> list[Case]:
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
        prog="python -m experiments.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default="", help="parts of cells' names, commas between")
    parser.add_argument("--sweep", action="store_true", help="also how cost grows with T, B, S, D")
    parser.add_argument("--quick", action="store_true", help="one repeat of each cell")
    parser.add_argument("--output", default="results/bench.json", help="the JSON")
    parser.add_argument("--plot", default="docs/generation_time.png", help="the picture")
    return parser.parse_args(argv)


def run(options: argparse.Namespace, cases: Sequence[Case]) -> None:
    """Measures cell by cell; the JSON is whole after each."""
    output, chosen = Path(options.output), select(cases, options.only)
    cells, references = read_cells(output), make_references()
    print(HEADER, flush=True)
    for case in chosen:
        cell = measure(case, references, options.quick)
        cells[case.name] = cell
        print(row(cell), flush=True)
        output.parent.mkdir(parents=True, exist_ok=True)
        content = {"machine": machine(), "cells": list(cells.values())}
        output.write_text(json.dumps(content, indent=1) + "\n")
    draw_generation(cells, Path(options.plot))


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 2 after a user's mistake, told in one line."""
    options = parse(argv)
    cases = [*table_cases(), *(sweep_cases() if options.sweep else ())]
    try:
        run(options, cases)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
