"""Positions in a sequence of known length: counted from the start and from the end."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from nlf_jax.nn.linear import project, uniform


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


@jax.custom_jvp
def _look_up(
    start: Float[Array, "T F"], end: Float[Array, "M F"], index: Int[Array, "T"]
) -> Float[Array, "T F"]:
    """``start[t] + end[index[t]]``.

    The tangent is written as matrix products, which under vmap become one product over all
    examples in the backward pass. What JAX would transpose by itself, a scatter and a sum over the
    batch, is many times slower on a CPU.
    """
    return start + end[index]


@_look_up.defjvp
def _look_up_jvp(primals, tangents):
    (start, end, index), (start_dot, end_dot, _) = primals, tangents
    two_hot = jnp.concatenate([jnp.eye(index.size), jax.nn.one_hot(index, end.shape[0])], axis=1)
    tables = jnp.concatenate([start_dot, end_dot])
    return _look_up(start, end, index), project(two_hot, tables)


class PositionEmbedding(nnx.Module):
    """A linear map of the position one-hots, computed as two look-ups.

    ``start[t] + end[length - 1 - t]``, which is what a weight matrix [2 * max_length, F] applied to
    ``position_one_hot`` gives. Steps past the end get some finite value.
    """

    def __init__(self, max_length: int, features: int, *, bound: float, rngs: nnx.Rngs):
        self.start = uniform(rngs, (max_length, features), bound)
        self.end = uniform(rngs, (max_length, features), bound)

    def __call__(
        self, first: int, num_steps: int, length: Int[Array, ""], *, longest: int | None = None
    ) -> Float[Array, "num_steps F"]:
        """Values of the steps ``first``, .., ``first + num_steps - 1``.

        ``longest``: no length is greater; the smaller it is, the cheaper is the gradient.
        """
        start = _rows(self.start[...], first, num_steps)
        end = self.end[:longest]
        index = length - 1 - first - jnp.arange(num_steps)
        return _look_up(start, end, jnp.clip(index, 0, end.shape[0] - 1))


def _rows(table: Array, first: int, count: int) -> Array:
    """Rows from ``first`` on, zeros past the end of the table."""
    rows = table[first : first + count]
    return jnp.pad(rows, ((0, count - rows.shape[0]), (0, 0)))
