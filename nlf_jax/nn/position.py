"""Positions in a sequence of known length: counted from the start and from the end."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from nlf_jax.nn.linear import uniform


def step_mask(length: Int[Array, ""], num_steps: int) -> Array:
    """True at the steps t < length; bool [num_steps]."""
    return jnp.arange(num_steps) < length


def position_one_hot(
    length: Int[Array, ""], num_steps: int, max_length: int
) -> Float[Array, "T 2*max_length"]:
    """``concat(one_hot(t), one_hot(length - 1 - t))`` for every step t; all zero past the end."""
    steps = jnp.arange(num_steps)
    encode = lambda index: jax.nn.one_hot(index, max_length)  # noqa: E731
    return jnp.concatenate([encode(steps), encode(length - 1 - steps)], axis=-1)


class PositionEmbedding(nnx.Module):
    """A linear map of the position one-hots, computed as two look-ups.

    ``start[t] + end[length - 1 - t]``, which is what a weight matrix [2 * max_length, F] applied to
    ``position_one_hot`` gives. Steps past the end get some finite value.
    """

    def __init__(self, max_length: int, features: int, *, bound: float, rngs: nnx.Rngs):
        self.start = uniform(rngs, (max_length, features), bound)
        self.end = uniform(rngs, (max_length, features), bound)

    def __call__(self, steps: Int[Array, "T"], length: Int[Array, ""]) -> Float[Array, "T F"]:
        last = self.end.shape[0] - 1
        remaining = jnp.clip(length - 1 - steps, 0, last)
        return self.start[...][jnp.clip(steps, 0, last)] + self.end[...][remaining]
