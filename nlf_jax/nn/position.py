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
def _look_up(table: Float[Array, "M F"], index: Int[Array, "N"]) -> Float[Array, "N F"]:
    """Rows of a table.

    The tangent is a one-hot product: its transpose sums over all examples in one matrix product,
    where that of a gather is a scatter, many times slower on a CPU.
    """
    return table[index]


@_look_up.defjvp
def _look_up_jvp(primals, tangents):
    (table, index), (table_dot, _) = primals, tangents
    one_hot = jax.nn.one_hot(index, table.shape[0])
    return _look_up(table, index), project(one_hot, table_dot)


class PositionEmbedding(nnx.Module):
    """A linear map of the position one-hots, computed as two look-ups.

    ``start[t] + end[length - 1 - t]``, which is what a weight matrix [2 * max_length, F] applied to
    ``position_one_hot`` gives. Steps past the end get some finite value.
    """

    def __init__(self, max_length: int, features: int, *, bound: float, rngs: nnx.Rngs):
        self.start = uniform(rngs, (max_length, features), bound)
        self.end = uniform(rngs, (max_length, features), bound)

    def __call__(
        self, first: int, num_steps: int, length: Int[Array, ""]
    ) -> Float[Array, "num_steps F"]:
        """Values of the steps ``first``, .., ``first + num_steps - 1``."""
        stop = min(first + num_steps, self.start.shape[0])
        start = self.start[first:stop]
        start = jnp.pad(start, ((0, num_steps - start.shape[0]), (0, 0)))
        index = length - 1 - first - jnp.arange(num_steps)
        return start + _look_up(self.end[...], jnp.clip(index, 0, self.end.shape[0] - 1))
