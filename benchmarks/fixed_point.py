"""Counts what sampling a trained flow across T by fixed-point (Jacobi) iteration would take.

    python -m benchmarks.fixed_point --workdir=runs/ptb_char/af_scf-small

The steps of a sample follow one another: z_t = f(noise_t; summary of z_<t). From any guess of z a
sweep computes all summaries with one pass of the LSTM, then all steps at once; after T sweeps the
result is exact, and often to a tolerance much earlier (Song et al., 2021, arXiv:2002.03629). An IAF
scores by the same recurrence. Prints, for several lengths, the sweeps until no z moves by more than
the tolerance, and how many sweeps take as long as the scan that the library uses: the iteration
would pay only where it needs fewer. Times are medians, taken in turn.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import nlf_jax
from benchmarks.timing import time_in_turn
from nlf_jax.bijectors.base import Chain, Inverse
from nlf_jax.bijectors.recurrent import Recurrent, SequenceContext
from nlf_jax.cli.exit_codes import exit_code
from nlf_jax.errors import UserError


def recurrent_of(flow: object) -> Recurrent:
    """The first flow across T of a prior, or what its inverse is made of.

    Raises:
        UserError: there is none.
    """
    while isinstance(flow, Chain | Inverse):
        flow = flow.bijectors[0] if isinstance(flow, Chain) else flow.bijector
    if not isinstance(flow, Recurrent):
        raise UserError("this prior has no flow across time: use af_scf, af_af or an iaf_ one.")
    return flow


@jax.jit
def sweep(flow: Recurrent, noise: jax.Array, z: jax.Array) -> jax.Array:
    """All steps [T, B, D] at once, with the summaries of the guess z."""
    contexts = flow.contexts(z, SequenceContext(jnp.full(z.shape[1], len(z))))
    return jax.vmap(flow.inner.forward_and_log_det)(noise, contexts)[0]


@jax.jit
def scan(flow: Recurrent, noise: jax.Array) -> jax.Array:
    """The exact result, step after step."""
    return flow.forward_and_log_det(noise, SequenceContext(jnp.full(noise.shape[1], len(noise))))[0]


@partial(jax.jit, static_argnames="tolerance")
def solve(flow: Recurrent, noise: jax.Array, tolerance: float) -> tuple[jax.Array, jax.Array]:
    """The fixed point from z = noise, and the number of sweeps."""

    def body(carry):
        z, _, count = carry
        new = sweep(flow, noise, z)
        return new, jnp.abs(new - z).max(), count + 1

    start = (noise, jnp.inf, jnp.int32(0))
    going_on = lambda carry: (carry[1] > tolerance) & (carry[2] <= len(noise))  # noqa: E731
    z, _, count = jax.lax.while_loop(going_on, body, start)
    return z, count


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--lengths", type=int, nargs="+", default=[32, 64, 128, 256])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    args = parser.parse_args(argv)
    network = nlf_jax.load(args.workdir).network
    flow, size = recurrent_of(getattr(network, "prior", None)), network.config.latent
    print(f"{'T':>5}{'sweeps':>8}{'error':>10}{'sweeps in the time of the scan':>32}")
    for steps in args.lengths:
        noise = jax.random.normal(jax.random.key(0), (steps, args.batch, size))
        exact, (z, count) = scan(flow, noise), solve(flow, noise, args.tolerance)
        calls = {"scan": partial(scan, flow, noise), "sweep": partial(sweep, flow, noise, noise)}
        times = {name: np.median(t) for name, t in time_in_turn(calls, quick=False).items()}
        error = float(jnp.abs(z - exact).max())
        print(f"{steps:>5}{int(count):>8}{error:>10.1e}{times['scan'] / times['sweep']:>32.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
