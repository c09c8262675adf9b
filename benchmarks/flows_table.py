"""A table of the flow priors: parameters, times of the two directions, round-trip error.

    python -m benchmarks.flows_table

Size small, parameters moved by normal noise of 0.05, one batch of --steps steps a row. A time
is a median over repeats; the times of all rows are taken in turn, so that they compare. The round
trip is noise -> latent -> noise; its error is the largest one, beside noise that goes up to 5.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nlf_jax.bijectors.base import Bijector
from nlf_jax.bijectors.recurrent import SequenceContext
from nlf_jax.cli import options
from nlf_jax.models import FLOW_MODELS, create_network

SPREAD, NUM_LETTERS = 0.05, 51
# A model and what is different of it.
ROWS: tuple[tuple[str, dict[str, str]], ...] = (
    *((model, {"transform": name}) for model in FLOW_MODELS for name in ("nlsq", "affine")),
    *((model, {"transform": "mixture"}) for model in ("af_scf", "iaf_scf")),
    *((model, {"recurrence": "gated"}) for model in ("af_scf", "iaf_scf", "af_codebook")),
    ("af_codebook", {}),
)


def make_flow(model: str, changes: dict[str, str], max_length: int) -> tuple[Bijector, int]:
    """A prior at size small, away from its start as the identity, and its latent dimensions."""
    config = options.get_config("ptb_char", model, "small", **changes).network
    sizes = {"num_symbols": NUM_LETTERS, "max_length": max_length, "key": jax.random.key(0)}
    network: Any = create_network(config, **sizes)
    flow = network.prior
    leaves, structure = jax.tree.flatten(flow)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [p + SPREAD * jax.random.normal(k, p.shape) for p, k in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(structure, moved), config.latent


@jax.jit
def sample(flow: Bijector, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Noise [B, T, D] to latent, with the log-determinants [B, T]."""
    context = SequenceContext(jnp.int32(noise.shape[1]))
    return jax.vmap(flow.forward_and_log_det, (0, None))(noise, context)


@jax.jit
def density(flow: Bijector, latent: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Latent [B, T, D] to noise, with the log-determinants [B, T]."""
    context = SequenceContext(jnp.int32(latent.shape[1]))
    return jax.vmap(flow.inverse_and_log_det, (0, None))(latent, context)


def seconds(function: Callable, *arguments: Any) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    return time.perf_counter() - start


def make_row(model: str, changes: dict[str, str], batch: int, steps: int) -> dict[str, Any]:
    """A flow with its noise and latent, compiled, and what does not depend on time."""
    flow, size = make_flow(model, changes, steps)
    noise = jax.random.normal(jax.random.key(0), (batch, steps, size))
    latent, _ = sample(flow, noise)
    back, _ = density(flow, latent)
    error = float(jnp.abs(back - noise).max())
    row = {"flow": flow, "noise": noise, "latent": latent, "error": error}
    parameters = sum(leaf.size for leaf in jax.tree.leaves(flow))
    return row | {"name": " ".join([model, *changes.values()]), "parameters": parameters}


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args(argv)
    rows = [make_row(model, changes, args.batch, args.steps) for model, changes in ROWS]
    times = [
        [
            (seconds(density, r["flow"], r["latent"]), seconds(sample, r["flow"], r["noise"]))
            for r in rows
        ]
        for _ in range(args.repeats)
    ]
    medians = 1000 * np.median(np.array(times), axis=0)
    print(f"{args.batch} sequences of {args.steps} steps; median of {args.repeats}")
    print(f"{'flow':<20}{'parameters':>12}{'density ms':>12}{'sample ms':>12}{'round trip':>12}")
    for row, (density_ms, sample_ms) in zip(rows, medians, strict=True):
        numbers = (
            f"{row['parameters']:>12,}{density_ms:>12.1f}{sample_ms:>12.1f}{row['error']:>12.1e}"
        )
        print(f"{row['name']:<20}{numbers}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
