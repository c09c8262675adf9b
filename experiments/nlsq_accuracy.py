"""How exact the float32 root solve of NLSq is, beside a float64 root in NumPy.

    python -m experiments.nlsq_accuracy --output=nlsq_accuracy.json

Draws raw parameters at three spreads and noise x at four scales (0.01, 1, 10, 100), adds the
authors' extreme cases where their golden vectors are at hand, solves f(y) = x and prints one JSON
line per case. An ulp of the terms involved is 2^-23 max(|x|, |a|, |b y|, |c / (1 + u^2)|).
Takes about 3 minutes on two cores. Result: backward error at most 5.1 ulps, log_det error at most
2e-5, nothing NaN or infinite.
"""

import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from absl import app, flags

from nlf_jax.bijectors.scalar import (
    MAX_BUMP,
    MAX_RAW_LOG_SCALE,
    nlsq_forward_and_log_det,
    nlsq_inverse_and_log_det,
)
from nlf_jax.errors import UserError

DRAWS = flags.DEFINE_integer("draws", 10_000_000, "Draws per parameter spread.", lower_bound=1)
GOLDEN_DIR = flags.DEFINE_string(
    "golden_dir", os.environ.get("NLF_GOLDEN_DIR"), "Folder with transform_nlsq.npz (optional)."
)
OUTPUT = flags.DEFINE_string("output", None, "File for the results; printed in any case.")

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


def draw(rng: np.random.Generator, spread: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Raw parameters [n, 5] ~ N(0, spread^2) and noise [n] at the four scales."""
    raw = spread * rng.standard_normal((n, 5), dtype=np.float32)
    return raw, (rng.choice(NOISE_SCALES, n) * rng.standard_normal(n)).astype(np.float32)


def random_cases(draws: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """One summary per spread, in chunks of bounded memory."""
    rng = np.random.default_rng(0)
    for spread in SPREADS:
        sizes = [min(CHUNK, draws - start) for start in range(0, draws, CHUNK)]
        chunks = [measure(*draw(rng, spread, n)) for n in sizes]
        figures = {name: np.concatenate([c[name] for c in chunks]) for name in chunks[0]}
        yield f"spread {spread}", summary(figures)


def golden_case(folder: str) -> tuple[str, dict[str, Any]]:
    """The authors' extreme cases."""
    path = pathlib.Path(folder) / "transform_nlsq.npz"
    if not path.is_file():
        raise UserError(f"There is no {path}; set --golden_dir to the folder that has it.")
    with np.load(path) as file:
        raw, x = file["in/hard_params"][:, 0], file["in/hard_x"][:, 0]
    return "golden extremes", summary(measure(raw, x))


def main(argv: list[str]) -> None:
    """Measure, print and write."""
    del argv
    results = {}
    cases = [golden_case(GOLDEN_DIR.value)] if GOLDEN_DIR.value else []
    for name, result in [*cases, *random_cases(DRAWS.value)]:
        results[name] = result
        print(json.dumps({"case": name, **result}), flush=True)
    if OUTPUT.value:
        pathlib.Path(OUTPUT.value).write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    app.run(main)
