"""Measures how exact the mixture transforms are in float32, beside a float64 root in NumPy.

    python -m benchmarks.mixture_accuracy --output=mixture_accuracy.json

Draws logits of weights, means and scales, and noise x at four scales (0.01, 1, 10, 100); solves
f(y) = x for the latent y and prints one JSON line per case. ``logistic``: the transform ``mixture``
with raw parameters of three spreads. ``normal``: the scalar step of the codebook flow, two codes
at 1 and -1, or 51 random ones of mean square 1, and logits of weights of three spreads. An ulp of
the terms involved is 2^-23 max(1, |x|, |f'(y) y|, |f_k m_k|), f_k being the part of component k,
of mean m_k, in the slope f' = sum_k f_k. The float64 root is found for the first of the draws;
``near_log_det_error`` is of noise below 6, to which training keeps.
``codebook``: z from the posterior of a symbol drawn from its prior, to noise and back, in widths.
Takes 40 seconds of one core. Result: nothing NaN or infinite; backward error at most 3.7 ulps
(logistic) and 4.6 (normal); every symbol comes back, its code by at most 0.03 widths off.
"""

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from scipy import special

from benchmarks.nlsq_accuracy import SPREADS, ULP, combined, draw_noise, report, summary
from nlf_jax.bijectors.codebook import Codebook
from nlf_jax.bijectors.logistic_mixture import (
    MAX_LOG_SCALE,
    SPREAD,
    mixture_forward_and_log_det,
    mixture_inverse_and_log_det,
)
from nlf_jax.bijectors.normal_mixture import mixture_to_noise, noise_to_mixture
from nlf_jax.cli.exit_codes import exit_code
from nlf_jax.errors import UserError

LOGIT_SPREADS = (1.0, 3.0, 10.0)
CHUNK = 50_000
# Noise beyond this comes once in 10^9. A log_det is a difference of log densities, which are about
# x^2 / 2 each where the components are normal: at x = 400 an ulp of them is 0.008.
NEAR = 6.0
NUM_SYMBOLS, SIZE, WIDTH = 51, 16, 0.3

Arrays = tuple[np.ndarray, ...]


class Kind(NamedTuple):
    """A family of components, and the transform that is made of it, in float32.

    Attributes:
        log_cdf, log_pdf: of a component of mean 0 and scale 1, in float64.
        quantile: log F, log(1 - F) -> noise.
        components: parameters -> log-weights, means and log-scales [N, K], in float64.
        forward, inverse: parameters, noise or latent -> the other one, log_det.
    """

    log_cdf: Callable[[np.ndarray], np.ndarray]
    log_pdf: Callable[[np.ndarray], np.ndarray]
    quantile: Callable[[np.ndarray, np.ndarray], np.ndarray]
    components: Callable[[Arrays], Arrays]
    forward: Callable[..., tuple[jax.Array, jax.Array]]
    inverse: Callable[..., tuple[jax.Array, jax.Array]]


def logistic_components(parameters: Arrays) -> Arrays:
    """Of raw parameters [N, 3 K]."""
    logits, means, log_scales = np.split(parameters[0].astype(np.float64), 3, axis=-1)
    offsets = np.linspace(-SPREAD, SPREAD, logits.shape[-1], dtype=np.float32)
    log_scales = np.clip(0.5 * log_scales, -MAX_LOG_SCALE, MAX_LOG_SCALE)
    return special.log_softmax(logits, axis=-1), means + offsets, log_scales


def normal_components(parameters: Arrays) -> Arrays:
    """Of logits of weights and means, [N, K] each; the scale is 1."""
    logits, means = (p.astype(np.float64) for p in parameters)
    return special.log_softmax(logits, axis=-1), means, np.zeros_like(means)


def normal_quantile(below: np.ndarray, above: np.ndarray) -> np.ndarray:
    """From the smaller tail."""
    t = special.ndtri_exp(np.minimum(below, above))
    return np.where(below < above, t, -t)


LOGISTIC = Kind(
    special.log_expit,
    lambda u: special.log_expit(u) + special.log_expit(-u),
    np.subtract,
    logistic_components,
    jax.jit(lambda p, x: mixture_forward_and_log_det(p[0], x)),
    jax.jit(lambda p, y: mixture_inverse_and_log_det(p[0], y)),
)
NORMAL = Kind(
    special.log_ndtr,
    lambda u: -0.5 * u * u - 0.5 * np.log(2 * np.pi),
    normal_quantile,
    normal_components,
    jax.jit(lambda p, x: noise_to_mixture(jax.nn.log_softmax(p[0]), p[1], x)),
    jax.jit(lambda p, y: mixture_to_noise(jax.nn.log_softmax(p[0]), y[..., None] - p[1])),
)


def log_sum(terms: np.ndarray) -> np.ndarray:
    """log sum exp over the components."""
    largest = terms.max(axis=-1)
    return largest + np.log(np.exp(terms - largest[:, None]).sum(axis=-1))


def to_noise64(kind: Kind, components: Arrays, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Latent -> noise and the logarithms [N, K] of the parts of the slope, in float64."""
    log_weights, means, log_scales = components
    u = (y[:, None] - means) * np.exp(-log_scales)
    below, above = (log_sum(log_weights + kind.log_cdf(v)) for v in (u, -u))
    noise = kind.quantile(below, above)
    parts = log_weights + kind.log_pdf(u) - log_scales
    return noise, parts - kind.log_pdf(noise)[:, None]


def root64(kind: Kind, components: Arrays, x: np.ndarray) -> np.ndarray:
    """Noise -> latent by bisection, from between where each component alone would have it."""
    _, means, log_scales = components
    alone = means + np.exp(log_scales) * x[:, None]
    low, high = alone.min(axis=-1), alone.max(axis=-1)
    for _ in range(64):
        middle = 0.5 * (low + high)
        too_low = to_noise64(kind, components, middle)[0] < x
        low, high = np.where(too_low, middle, low), np.where(too_low, high, middle)
    return 0.5 * (low + high)


def unit_of(y: np.ndarray, x: np.ndarray, means: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """One ulp of the terms involved in f(y) = x."""
    parts = np.exp(parts)
    of_means = np.abs(parts * means).max(axis=-1)
    return ULP * np.max([np.ones_like(x), np.abs(x), parts.sum(-1) * np.abs(y), of_means], axis=0)


def measure(kind: Kind, parameters: Arrays, x: np.ndarray, roots: int) -> dict[str, np.ndarray]:
    """Every figure of every draw, x [N] in float32, and of the first ones beside the root."""
    y32, log_det = (np.asarray(v) for v in kind.forward(parameters, x))
    returned, returned_log_det = (np.asarray(v) for v in kind.inverse(parameters, y32))
    components, y = kind.components(parameters), y32.astype(np.float64)
    noise, parts = to_noise64(kind, components, y)
    log_slope, unit = log_sum(parts), unit_of(y, x, components[1], parts)
    first = [c[:roots] for c in components]
    root = root64(kind, tuple(first), x[:roots].astype(np.float64))
    conditioning = np.exp(-log_slope)
    return {
        "nonfinite": np.sum(~np.isfinite([y32, log_det, returned, returned_log_det]), axis=0),
        "backward_ulps": np.abs(noise - x) / unit,
        "round_trip_ulps": np.abs(returned - x.astype(np.float64)) / unit,
        "log_det_error": np.abs(log_det + log_slope),
        "near_log_det_error": np.abs(returned_log_det - log_slope)[np.abs(x) < NEAR],
        "root_error": np.abs(y[:roots] - root),
        "root_error_one_ulp_explains": (unit * conditioning)[:roots],
        "root_error_ulps": np.abs(y[:roots] - root) / (unit * conditioning)[:roots],
        "conditioning": conditioning,
    }


def draw_raw(rng: np.random.Generator, n: int, num: int, spread: float) -> Arrays:
    """Raw parameters of a logistic mixture of ``num`` components."""
    return (spread * rng.standard_normal((n, 3 * num), dtype=np.float32),)


def draw_codes(rng: np.random.Generator, n: int, num: int, spread: float, width: float) -> Arrays:
    """Logits and means, of two codes the fixed ones."""
    logits = spread * rng.standard_normal((n, num), dtype=np.float32)
    codes = rng.standard_normal((n, num), dtype=np.float32)
    codes /= np.sqrt(np.square(codes).mean(axis=-1, keepdims=True))
    codes = np.broadcast_to(np.array([1, -1], np.float32), (n, 2)) if num == 2 else codes
    return logits, (codes / np.float32(width)).astype(np.float32)


def cases(draws: int) -> Iterator[tuple[str, Kind, Callable[..., Arrays], int]]:
    """Name, transform, how parameters are drawn, number of draws."""
    for num in (4, 8, 16):
        for spread in SPREADS:
            name = f"logistic, K {num}, spread {spread:g}"
            yield name, LOGISTIC, partial(draw_raw, num=num, spread=spread), draws
    # The largest one, which takes longest, gets a quarter.
    for num, width, share in ((2, 0.1, 1), (2, 0.3, 1), (NUM_SYMBOLS, WIDTH, 4)):
        for spread in LOGIT_SPREADS:
            name = f"normal, K {num}, width {width:g}, spread {spread:g}"
            draw = partial(draw_codes, num=num, spread=spread, width=width)
            yield name, NORMAL, draw, -(-draws // share)


def mixtures(draws: int, roots: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """One summary per case, in chunks of bounded memory."""
    rng = np.random.default_rng(0)
    for name, kind, draw, of_case in cases(draws):
        parts = []
        for n in (min(CHUNK, of_case - start) for start in range(0, of_case, CHUNK)):
            figures = measure(kind, draw(rng, n), draw_noise(rng, n), roots)
            parts.append(summary(figures))
        yield name, combined(parts)


@jax.jit
def there_and_back(flow: Codebook, logits: jax.Array, key: jax.Array) -> tuple[jax.Array, ...]:
    """Latents of drawn symbols, after a round trip over noise, and both log_dets."""
    of_symbol, of_noise = jax.random.split(key)
    symbols = jax.random.categorical(of_symbol, logits)
    noise = jax.random.normal(of_noise, (*symbols.shape, flow.codes.shape[-1]))
    z = flow.codes[symbols] + flow.width * noise
    noise, log_det = flow.inverse_and_log_det(z, logits)
    returned, returned_log_det = flow.forward_and_log_det(noise, logits)
    read = jnp.argmax(jax.nn.log_softmax(logits) + flow.log_likelihood(returned), axis=-1)
    return symbols, read, z, returned, log_det, returned_log_det


def codebook(spread: float, draws: int) -> tuple[str, dict[str, Any]]:
    """The codebook flow as it starts, with logits of one spread."""
    flow = Codebook(NUM_SYMBOLS, SIZE, WIDTH, rngs=nnx.Rngs(0))
    of_logits, key = jax.random.split(jax.random.key(1))
    logits = spread * jax.random.normal(of_logits, (draws, NUM_SYMBOLS))
    results = (np.asarray(r) for r in there_and_back(flow, logits, key))
    symbols, read, z, returned, log_det, returned_log_det = results
    moved = np.abs(returned - z).max(axis=-1) / WIDTH
    figures = {
        "draws": draws,
        "nonfinite": int(np.sum(~np.isfinite(returned))),
        "round_trip_widths": float(moved.max()),
        "round_trip_widths_of_999_in_1000": float(np.quantile(moved, 0.999)),
        "log_det_difference": float(np.abs(log_det + returned_log_det).max()),
        "symbols_that_come_back": float(np.mean(symbols == read)),
    }
    return f"codebook, D {SIZE}, V {NUM_SYMBOLS}, width {WIDTH}, spread {spread:g}", figures


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mixture_accuracy")
    parser.add_argument("--draws", type=int, default=350_000, help="draws per case")
    parser.add_argument("--roots", type=int, default=2_000, help="float64 roots per 50,000 draws")
    parser.add_argument("--codebook_draws", type=int, default=4_000, help="symbols per spread")
    parser.add_argument("--output", help="JSON file for the results, which are printed anyway")
    return parser.parse_args(argv)


def run(options: argparse.Namespace) -> None:
    """Measure, print and write."""
    if min(options.draws, options.roots, options.codebook_draws) < 1:
        raise UserError("--draws, --roots and --codebook_draws must be at least 1.")
    of_codebook = (codebook(spread, options.codebook_draws) for spread in LOGIT_SPREADS)
    cases = itertools.chain(mixtures(options.draws, options.roots), of_codebook)
    report(cases, options.output)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 2 after a user's mistake, told in one line."""
    return exit_code(lambda: run(parse(argv)))


if __name__ == "__main__":
    sys.exit(main())
