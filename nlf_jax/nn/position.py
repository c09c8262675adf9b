"""Positions in a sequence of known length: counted from the start and from the end.

A length may have batch axes; they come after the axis of steps.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from nlf_jax.nn.linear import look_up, uniform


def step_mask(length: Int[Array, "*B"], num_steps: int) -> Bool[Array, "T *B"]:
    """True at the steps t < length."""
    return steps_left(length, 0, num_steps) >= 0


def steps_left(length: Int[Array, "*B"], first: int, num_steps: int) -> Int[Array, "T *B"]:
    """``length - 1 - t`` for the steps t from ``first`` on: how many steps follow t."""
    steps = jnp.arange(first, first + num_steps, dtype=jnp.int32)
    length = jnp.asarray(length)
    return length[None] - 1 - jnp.expand_dims(steps, range(1, 1 + length.ndim))


def position_one_hot(
    length: Int[Array, "*B"], num_steps: int, max_length: int
) -> Float[Array, "T *B 2*max_length"]:
    """``concat(one_hot(t), one_hot(length - 1 - t))`` for every step t; all zero past the end."""
    left = steps_left(length, 0, num_steps)
    encode = lambda index: jax.nn.one_hot(index, max_length, dtype=jnp.float32)  # noqa: E731
    from_start = jnp.asarray(length)[None] - 1 - left
    return jnp.concatenate([encode(from_start), encode(left)], axis=-1)


class PositionEmbedding(nnx.Module):
    """A linear map of the position one-hots, computed as two look-ups.

    ``start[t] + end[length - 1 - t]``, which is what a weight matrix [2 * max_length, F] applied to
    ``position_one_hot`` gives. Steps past the end get some finite value.
    """

    def __init__(self, max_length: int, features: int, *, bound: float, rngs: nnx.Rngs):
        self.start = uniform(rngs, (max_length, features), bound)
        self.end = uniform(rngs, (max_length, features), bound)

    def __call__(
        self, first: int, num_steps: int, length: Int[Array, "*B"], *, longest: int | None = None
    ) -> Float[Array, "num_steps *B F"]:
        """Values of the steps ``first``, .., ``first + num_steps - 1``.

        ``longest``: no length is greater; the smaller it is, the cheaper is the gradient.
        """
        start = _rows(self.start[...], first, num_steps)
        start = jnp.expand_dims(start, range(1, 1 + jnp.ndim(length)))
        end = self.end[:longest]
        index = jnp.clip(steps_left(length, first, num_steps), 0, end.shape[0] - 1)
        return start + look_up(end, index)


def _rows(table: Array, first: int, count: int) -> Array:
    """Rows from ``first`` on, zeros past the end of the table."""
    rows = table[first : first + count]
    return jnp.pad(rows, ((0, count - rows.shape[0]), (0, 0)))
