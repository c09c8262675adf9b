"""What an accelerator makes of the package: one command of minutes, one small JSON file.

    python -m benchmarks.gpu                      all, into results/gpu/<device>.json
    python -m benchmarks.gpu --only=steps,lengths some sections
    python -m benchmarks.gpu --quick              tiny models, to try the command on a CPU

It needs JAX, Flax, Optax, NumPy, jaxtyping and absl-py; pytest, Hypothesis and PyTorch are used if
they are there. The sections:

- products: float32 products must have the error of float32, not of TF32; noise that goes through
  a flow and back must return.
- twice: some training steps of every model, compiled and run twice, must give the same bits.
- numerics: the tests of what is computed, file by file; NLF_GOLDEN_DIR as for the other tests.
- steps, generation: time and memory of every model, beside an LSTM of PyTorch.
- lengths: time to draw one sequence against its length.

The file is whole after each cell, and the same command goes on where it was stopped; what failed is
tried again. The exit code is 1 if a cell failed or isn't as it must be.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax

from benchmarks.gpu_checks import VARIANTS, Cell, numerics, products, twice
from benchmarks.speed_cases import PARALLEL, Case
from benchmarks.timing import command_of, compile_program, time_in_turn
from nlf_jax.cli.exit_codes import exit_code
from nlf_jax.errors import UserError
from nlf_jax.files import read_json, write_atomically

ROOT = Path(__file__).parents[1]
TORCH_SECONDS = 180
LENGTHS = (64, 256, 1024, 4096)
SHAPES: dict[str, dict[str, Any]] = {
    "train": {"batch": 128, "steps": 128},
    "generate": {"batch": 1, "steps": 256},
}
MAX_BYTES = 10**7


def timed(part: str, task: str, quick: bool) -> Iterator[Cell]:
    """Every model at both sizes, the LSTM and PyTorch's first."""
    for size in ("tiny",) if quick else ("paper", "small"):
        shape = {"batch": 2, "steps": 4} if quick else SHAPES[task]
        lstm, *others = [Case(part, task, m, size, **shape, changes=c) for m, c in VARIANTS]
        yield lstm.name, partial(time_of, lstm, quick)
        yield lstm.name.replace("/lstm/", "/torch/"), partial(time_of_torch, lstm, quick)
        yield from ((case.name, partial(time_of, case, quick)) for case in others)


def lengths(quick: bool) -> Iterator[Cell]:
    """Drawing one sequence in turn, by an LSTM and by a gated recurrence, and in parallel."""
    for steps in (2, 4) if quick else LENGTHS:
        for model, changes in (("lstm", ()), ("gated", ()), ("iaf_scf", PARALLEL)):
            size = "tiny" if quick else "paper"
            case = Case("lengths", "generate", model, size, batch=1, steps=steps, changes=changes)
            yield case.name, partial(time_of, case, quick)


SECTIONS = {
    "products": products,
    "twice": twice,
    "numerics": numerics,
    "steps": partial(timed, "steps", "train"),
    "generation": partial(timed, "generation", "generate"),
    "lengths": lengths,
}


def time_of(case: Case, quick: bool) -> dict[str, Any]:
    """Seconds of a call, and the memory that its program takes."""
    compiled = compile_program(case.program())
    times = time_in_turn({case.name: compiled.call}, quick)[case.name]
    rest = {"peak_mbytes": compiled.peak / 1e6, "compile_seconds": compiled.seconds}
    return in_short(times) | rest | {"sequential_steps": compiled.sequential}


def time_of_torch(case: Case, quick: bool) -> dict[str, Any]:
    """The same of PyTorch's LSTM, in a process of its own: the two bring libraries of CUDA."""
    config = case.config()
    sizes = {"embedding": config.embedding, "hidden": config.hidden, "layers": config.lstm_layers}
    shape = {"task": case.task, "batch": case.batch, "steps": case.steps, "quick": quick}
    command = [sys.executable, "-m", "benchmarks.gpu_torch", json.dumps(sizes | shape)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TORCH_SECONDS)
    if ended.returncode:
        return {"note": ended.stderr.strip().rpartition("\n")[2][:300]}
    found = json.loads(ended.stdout)
    return in_short(found.pop("times")) | found


def in_short(times: Sequence[float]) -> dict[str, Any]:
    """The median of the times, and how far they are apart."""
    spread = {"fastest": min(times), "slowest": max(times), "repeats": len(times)}
    return {"seconds": statistics.median(times)} | spread


def with_ratios(cells: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The cells, each time with its ratio to the LSTM's of the same section, size and shape."""

    def ratio(name: str, cell: dict[str, Any]) -> dict[str, Any]:
        part, size, _, shape = name.split("/", 3)
        lstm = cells.get(f"{part}/{size}/lstm/{shape.partition('-S')[0]}-S1", {})
        return {"ratio_to_lstm": cell["seconds"] / lstm["seconds"]} if "seconds" in lstm else {}

    return {n: c | ratio(n, c) if "seconds" in c else c for n, c in cells.items()}


def measured(measure: Any) -> dict[str, Any]:
    """A cell and the seconds it took; one that fails is no reason to leave out the next."""
    start = time.perf_counter()
    try:
        cell = measure()
    except Exception as error:
        cell = {"error": f"{type(error).__name__}: {str(error).partition(chr(10))[0][:300]}"}
    jax.clear_caches()
    return cell | {"took": round(time.perf_counter() - start, 1)}


def about(quick: bool) -> dict[str, Any]:
    """What the results depend on besides the code."""
    device = jax.devices()[0]
    versions = {"jax": jax.__version__, "jaxlib": importlib.metadata.version("jaxlib")}
    known = {"device": device.device_kind, "platform": device.platform, "quick": quick}
    return known | versions | {"python": platform.python_version()}


def read_cells(path: Path, made_by: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Cells by name of an earlier run, or none.

    Raises:
        UserError: the file is of something else.
    """
    try:
        content = read_json(path, MAX_BYTES)
        cells = {cell.pop("name"): cell for cell in content["cells"]}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} was not written by this command: remove it ({error})") from error
    other = [name for name, value in made_by.items() if content.get(name) != value]
    if other:
        raise UserError(f"{path} has another {', '.join(other)}: remove it, or give --output.")
    return cells


def line(name: str, cell: dict[str, Any]) -> str:
    """A cell in one line."""
    if "error" in cell or "note" in cell:
        return f"{name:<58}{cell.get('error', cell.get('note'))}"
    verdict = {True: "ok ", False: "NOT OK "}.get(cell.get("ok"), "")
    words = (f"{k} {f'{v:.3g}' if isinstance(v, float) else v}" for k, v in cell.items() if v != [])
    shown = ", ".join(word for word in words if not word.startswith(("ok ", "took ")))
    return f"{name:<58}{verdict}{shown}"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, commas between")
    parser.add_argument("--quick", action="store_true", help="tiny models, one repeat")
    parser.add_argument("--output", help="the JSON [results/gpu/<device>.json]")
    return parser.parse_args(argv)


def run(options: argparse.Namespace) -> int:
    """Measures what isn't there yet; the JSON is whole after each cell."""
    sections = options.only.split(",")
    if unknown := sorted(set(sections) - SECTIONS.keys()):
        raise UserError(f"--only={unknown[0]}: the sections are {', '.join(SECTIONS)}.")
    made_by = about(options.quick)
    device = re.sub(r"[^a-z0-9]+", "-", made_by["device"].lower()).strip("-")
    output = Path(options.output or f"results/gpu/{device}.json")
    cells, chosen = read_cells(output, made_by), []
    output.parent.mkdir(parents=True, exist_ok=True)
    command = command_of("gpu")
    for name, measure in (cell for each in sections for cell in SECTIONS[each](options.quick)):
        chosen.append(name)
        if name not in cells or {"error", "note"} & cells[name].keys():
            cells[name] = measured(measure)
            cells = with_ratios(cells)
            rows = [{"name": name} | cell for name, cell in cells.items()]
            content = made_by | {"command": command, "cells": rows}
            write_atomically(output, json.dumps(content, indent=1) + "\n")
        print(line(name, cells[name]), flush=True)
    bad = [n for n in chosen if "error" in cells[n] or not cells[n].get("ok", True)]
    print(f"{output}: {len(chosen)} cells, {len(bad)} failed or not as they must be")
    return int(bool(bad))


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0; 1 if something isn't as it must be; 2 after a user's mistake."""
    # Tests and PyTorch, in processes of their own, need memory of the same device.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    options = parse(argv)
    return exit_code(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
