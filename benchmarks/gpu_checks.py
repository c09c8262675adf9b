"""Whether an accelerator computes what it should: the parts of ``gpu`` that judge.

A cell with ``ok`` says whether it is so.
"""

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import flows_table
from benchmarks.speed_cases import GATED, PARALLEL, Case
from nlf_jax.nn.linear import project
from nlf_jax.training.arrays import Arrays, to_arrays
from nlf_jax.training.state import make_train_step

Cell = tuple[str, Callable[[], dict[str, Any]]]
ROOT = Path(__file__).parents[1]

# Models, and what is different of them; the LSTM first, as the others are compared with it.
VARIANTS: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...] = (
    ("lstm", ()),
    ("gated", ()),
    ("af_codebook", ()),
    ("af_codebook", GATED),
    ("af_scf", ()),
    ("af_af", ()),
    ("iaf_scf", ()),
    ("iaf_scf", PARALLEL),
)
TRAINING_STEPS = 20
# Operations of which XLA's or the libraries' versions may add up in any order.
_SUSPECTS = re.compile(r'\b(scatter|select-and-scatter)\(|custom_call_target="([^"]+)"')

# Root mean square error over that of the exact product of 500 factors. Float32 has about 3e-7,
# TF32, with 10 bits of the factors, about 3e-4.
PRODUCT_BOUND = 1e-5
# Largest error of noise of up to 5 that went through a flow and back; a CPU has 1e-6 to 4e-6.
ROUND_TRIP_BOUND = 1e-3

TEST_SECONDS = 300
TESTS = (
    "golden/test_flows", "golden/test_priors", "golden/test_models", "golden/test_baselines",
    "nn/test_linear", "nn/test_lstm", "nn/test_gated", "nn/test_mlp", "nn/test_position",
    "models/test_products", "models/test_objectives", "models/test_codebook_flow",
    "models/test_sampling", "models/test_latents", "models/test_mixtures", "models/test_frames",
    "training/test_state", "bijectors/test_root_finding", "bijectors/test_scalar",
    "bijectors/test_mixtures", "bijectors/test_recurrent", "bijectors/test_densities",
    "bijectors/test_properties",
)  # fmt: skip


def products(quick: bool) -> Iterator[Cell]:
    """Products as the prior makes them, against float64; then every flow there and back."""
    for name, function in _PRODUCTS.items():
        yield f"products/{name}", partial(product_error, function)
    batch, steps = (2, 4) if quick else (16, 128)
    for model, changes in flows_table.ROWS[1:2] if quick else flows_table.ROWS:
        name = "/".join(["products", "round-trip", model, *changes.values()])
        yield name, partial(round_trip, model, changes, batch, steps)


def _in_a_loop(x, weight):
    return jax.lax.map(lambda row: project(row[None], weight)[0], x)


# The prior's are of whole sequences, of a step of a loop, under ``vmap``.
_PRODUCTS: dict[str, Callable] = {
    "matrix": project,
    "row": lambda x, weight: project(x[:1], weight),
    "loop": _in_a_loop,
    "vmap": jax.vmap(project, (0, None)),
    "default-precision": jnp.matmul,
}


def product_error(function: Callable) -> dict[str, Any]:
    """The error of a product; without a precision of its own it is shown and not judged."""
    rng = np.random.default_rng(0)
    x, weight = (rng.standard_normal(shape, np.float32) for shape in ((128, 500), (500, 2000)))
    ours = np.asarray(jax.jit(function)(x, weight), np.float64)
    exact = (x.astype(np.float64) @ weight.astype(np.float64))[: len(ours)]
    error = float(np.sqrt(np.mean((ours - exact) ** 2) / np.mean(exact**2)))
    judged = {} if function is jnp.matmul else {"bound": PRODUCT_BOUND, "ok": error < PRODUCT_BOUND}
    return {"relative_error": error} | judged


def round_trip(model: str, changes: dict[str, str], batch: int, steps: int) -> dict[str, Any]:
    """The largest error of noise that a flow made to a latent and its density back to noise."""
    error = flows_table.make_row(model, changes, batch, steps)["error"]
    return {"largest_error": error, "bound": ROUND_TRIP_BOUND, "ok": error < ROUND_TRIP_BOUND}


def twice(quick: bool) -> Iterator[Cell]:
    """Every model at size small."""
    size = "tiny" if quick else "small"
    shape: dict[str, Any] = {"batch": 2, "steps": 4} if quick else {"batch": 16}
    for model, changes in VARIANTS:
        case = Case("twice", "train", model, size, **shape, changes=changes)
        yield case.name, partial(same_bits, case)


def same_bits(case: Case) -> dict[str, Any]:
    """Trains twice from one seed: which parameters differ, by how much, and what could be why."""
    (first, operations), (second, _) = trained(case), trained(case)
    differing = {
        name: float(np.abs(array - second[name]).max())
        for name, array in first.items()
        if array.tobytes() != second[name].tobytes()
    }
    return {"ok": not differing, "differing": differing, "suspects": dict(operations)}


def trained(case: Case) -> tuple[Arrays, Counter[str]]:
    """The parameters after the steps of a program compiled anew, and the suspects in it."""
    jax.clear_caches()
    make_train_step.cache_clear()
    program = case.program()
    compiled = program.function.lower(*program.arguments).compile()
    arguments = program.arguments
    for _ in range(TRAINING_STEPS):
        arguments = program.following(compiled(*arguments), arguments)
    found = _SUSPECTS.findall(compiled.as_text())
    return to_arrays(arguments[0].model.network), Counter(a or b for a, b in found)


def numerics(quick: bool) -> Iterator[Cell]:
    """The tests of what is computed, a cell for each file."""
    for name in ("nn/test_linear",) if quick else TESTS:
        yield f"numerics/{name}", partial(run_tests, ROOT / "tests" / f"{name}.py")


def run_tests(path: Path) -> dict[str, Any]:
    """Runs a file of tests on the platform that JAX takes, in one process of its own.

    Without the project's settings for pytest: they need plugins, and make every warning an error.
    """
    if importlib.util.find_spec("pytest") is None:
        return {"note": "pytest is not installed"}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", "-q", f"--rootdir={ROOT}", "-c", os.devnull]
        command += ["--import-mode=importlib", "-pno:cacheprovider", f"--junitxml={report}"]
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        ended = subprocess.run(
            [*command, str(path)], cwd=ROOT, env=environment, capture_output=True, text=True,
            timeout=TEST_SECONDS,
        )  # fmt: skip
        if not report.exists():
            return {"note": (ended.stdout + ended.stderr).strip().rpartition("\n")[2][:300]}
        return counted(ElementTree.parse(report).getroot())


def counted(report: ElementTree.Element) -> dict[str, Any]:
    """What a JUnit report says: numbers, failures by name, the golden tests' largest error."""
    results: Counter[str] = Counter()
    failures, skipped = [], ""
    for test in report.iter("testcase"):
        bad = [each for each in test if each.tag in ("failure", "error")]
        skips = [each.get("message", "") for each in test if each.tag == "skipped"]
        results["failed" if bad else "skipped" if skips else "passed"] += 1
        skipped = skips[0] if skips else skipped
        failures += [f"{test.get('name')}: {each.get('message', '')[:200]}" for each in bad]
    of_tolerance = [float(p.get("value", 0)) for p in report.iter("property")]
    cell: dict[str, Any] = {"ok": not failures} | results | {"failures": failures}
    cell |= {"largest_part_of_tolerance": max(of_tolerance)} if of_tolerance else {}
    nothing_run = not results["passed"] and not failures
    return cell | ({"note": skipped or "no test was run"} if nothing_run else {})
