"""Measures how exact the float32 root solve of NLSq is, beside a float64 root in NumPy.

    python -m benchmarks.nlsq_accuracy --output=nlsq_accuracy.json

Draws raw parameters at three spreads and noise x at four scales (0.01, 1, 10, 100), adds the
authors' extreme cases where their golden vectors are at hand, solves f(y) = x and prints one JSON
line per case. An ulp of the terms involved is 2^-23 max(|x|, |a|, |b y|, |c / (1 + u^2)|).
Takes about a minute on two cores. Result: nothing NaN or infinite; backward error at most 2.6
ulps at the extreme cases and 4.1, 4.3 and 5.4 at the spreads (of which the rounding of b, d and c
makes about half: 3.5, 4.1 and 4.2 when f is our own float32 inverse).
"""

import argparse
import itertools
import json
import os
import pathlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from nlf_jax.bijectors.scalar import (
    MAX_BUMP,
    MAX_RAW_LOG_SCALE,
    nlsq_forward_and_log_det,
    nlsq_inverse_and_log_det,
)
from nlf_jax.cli.exit_codes import exit_code
from nlf_jax.errors import UserError

SPREADS = (0.3, 1.0, 2.5)
NOISE_SCALES = (0.01, 1.0, 10.0, 100.0)
CHUNK = 500_000
ULP = 2.0**-23
SMALLEST = 2.0**-100

forward = jax.jit(nlsq_forward_and_log_det)
inverse = jax.jit(nlsq_inverse_and_log_det)


def parameters64(raw: np.ndarray) -> tuple[np.ndarray, ...]:
    """a, b, k, d, g in float64 of raw [..., 5]."""
    r = raw.astype(np.float64)
    log_b, log_d = (np.clip(r[..., i], -MAX_RAW_LOG_SCALE, MAX_RAW_LOG_SCALE) for i in (1, 3))
    k = MAX_BUMP * np.tanh(0.3 * r[..., 2])
    return r[..., 0], np.exp(0.4 * log_b), k, np.exp(0.4 * log_d), r[..., 4]


def inverse64(raw: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The closed form, latent y -> (noise, log_det), in float64."""
    _, b, k, d, g = parameters64(raw)
    u = d * y + g
    slope = b * (1 - 2 * k * u / (1 + u * u) ** 2)
    a, by, bump = terms64(raw, y)
    return a + by + bump, np.log(slope)


def terms64(raw: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    """The three terms a, b y and c / (1 + u^2) whose sum is the noise."""
    a, b, k, d, g = parameters64(raw)
    return a, b * y, b * k / d / (1 + (d * y + g) ** 2)


def forward64(raw: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Noise x -> (latent, log_det) in float64, by bisection."""
    a, b, k, d, g = parameters64(raw)
    e = (x.astype(np.float64) - a) / b
    s = d * e + g
    u, step = s - k / 2, np.abs(k) / 4
    for _ in range(55):
        u = u - np.where(u + k / (1 + u * u) > s, step, -step)
        step = step / 2
    y = e - k / (1 + u * u) / d
    return y, -inverse64(raw, y)[1]


def ulps(raw: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """One ulp of the terms involved in f(y) = x."""
    return ULP * np.maximum(np.max(np.abs([*terms64(raw, y), x]), axis=0), SMALLEST)


def measure(raw: np.ndarray, x: np.ndarray) -> dict[str, np.ndarray]:
    """Every figure of every draw, raw [N, 5] and x [N] in float32."""
    y32, log_det = (np.asarray(v) for v in forward(raw, x))
    y, unit = y32.astype(np.float64), ulps(raw, y32.astype(np.float64), x)
    root, root_log_det = forward64(raw, x)
    returned, returned_log_det = (np.asarray(v) for v in inverse(raw, y32))
    finite = np.isfinite([y32, log_det, returned, returned_log_det])
    return {
        "nonfinite": np.sum(~finite, axis=0),
        "backward_ulps": np.abs(inverse64(raw, y)[0] - x) / unit,
        "round_trip_ulps": np.abs(returned - x.astype(np.float64)) / unit,
        "root_error": np.abs(y - root),
        "root_error_one_ulp_explains": unit * np.exp(root_log_det),
        "conditioning": np.exp(root_log_det),
        "log_det_error": np.abs(log_det - root_log_det),
        "inverse_log_det_error": np.abs(returned_log_det - inverse64(raw, y)[1]),
    }


def summary(figures: dict[str, np.ndarray]) -> dict[str, Any]:
    """Largest values over the draws; the root error also where it is largest."""
    worst = np.argmax(figures["root_error"])
    at_worst = ("root_error", "root_error_one_ulp_explains", "conditioning")
    largest = [name for name in figures if name not in ("nonfinite", *at_worst)]
    return {
        "draws": len(figures["nonfinite"]),
        "nonfinite": int(figures["nonfinite"].sum()),
        **{name: float(figures[name].max()) for name in largest},
        "largest_conditioning": float(figures["conditioning"].max()),
        "worst_root": {name: float(figures[name][worst]) for name in at_worst},
    }


def combined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The summary of all draws from the summaries of chunks."""
    totals = {name: sum(p[name] for p in parts) for name in ("draws", "nonfinite")}
    rest = [name for name in parts[0] if name not in (*totals, "worst_root")]
    largest = {name: float(np.max([p[name] for p in parts])) for name in rest}
    worst = max((p["worst_root"] for p in parts), key=lambda w: w["root_error"])
    return {**totals, **largest, "worst_root": worst}


def draw_noise(rng: np.random.Generator, n: int) -> np.ndarray:
    """Noise [n] at the four scales."""
    return (rng.choice(NOISE_SCALES, n) * rng.standard_normal(n)).astype(np.float32)


def draw(rng: np.random.Generator, spread: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Raw parameters [n, 5] ~ N(0, spread^2) and noise [n] at the four scales."""
    raw = spread * rng.standard_normal((n, 5), dtype=np.float32)
    return raw, draw_noise(rng, n)


def random_cases(draws: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """One summary per spread, in chunks of bounded memory."""
    rng = np.random.default_rng(0)
    for spread in SPREADS:
        sizes = [min(CHUNK, draws - start) for start in range(0, draws, CHUNK)]
        parts = [summary(measure(*draw(rng, spread, n))) for n in sizes]
        yield f"spread {spread}", combined(parts)


def golden_case(folder: str) -> tuple[str, dict[str, Any]]:
    """The authors' extreme cases."""
    path = pathlib.Path(folder) / "transform_nlsq.npz"
    if not path.is_file():
        raise UserError(f"There is no {path}; set --golden_dir to the folder that has it.")
    with np.load(path) as file:
        raw, x = file["in/hard_params"][:, 0], file["in/hard_x"][:, 0]
    return "golden extremes", summary(measure(raw, x))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; NLF_GOLDEN_DIR names the golden vectors where --golden_dir doesn't."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nlsq_accuracy")
    parser.add_argument("--draws", type=int, default=10_000_000, help="draws per spread")
    folder = os.environ.get("NLF_GOLDEN_DIR")
    parser.add_argument("--golden_dir", default=folder, help="folder with transform_nlsq.npz")
    parser.add_argument("--output", help="JSON file for the results, which are printed anyway")
    return parser.parse_args(argv)


def report(cases: Iterable[tuple[str, dict[str, Any]]], output: str | None) -> None:
    """Prints each case as it comes, and writes all of them if an output is named."""
    results = {}
    for name, result in cases:
        results[name] = result
        print(json.dumps({"case": name, **result}), flush=True)
    if output:
        pathlib.Path(output).write_text(json.dumps(results, indent=2) + "\n")


def run(options: argparse.Namespace) -> None:
    """Measure, print and write."""
    if options.draws < 1:
        raise UserError(f"--draws must be at least 1, got {options.draws}.")
    cases = [golden_case(options.golden_dir)] if options.golden_dir else []
    report(itertools.chain(cases, random_cases(options.draws)), options.output)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 2 after a user's mistake, told in one line."""
    return exit_code(lambda: run(parse(argv)))


if __name__ == "__main__":
    sys.exit(main())
