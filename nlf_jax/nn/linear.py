"""Affine maps with an explicit initial range and an explicit matrix-product precision."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

FULL_PRECISION = jax.lax.Precision.HIGHEST


def uniform(rngs: nnx.Rngs, shape: tuple[int, ...], bound: float) -> nnx.Param:
    """Parameter drawn from U(-bound, bound)."""
    return nnx.Param(jax.random.uniform(rngs.params(), shape, minval=-bound, maxval=bound))


def project(x: Float[Array, "... I"], weight: Float[Array, "I O"]) -> Float[Array, "... O"]:
    """``x W`` on the last axis, in full float32 precision on every platform."""
    return jnp.matmul(x, weight, precision=FULL_PRECISION)


class Linear(nnx.Module):
    """``y = x W + b`` on the last axis.

    Args:
        bound: range of the initial weight.
        bias: range of the initial bias.
    """

    def __init__(
        self,
        in_size: int,
        out_size: int,
        *,
        bound: float = 0.07,
        bias: float = 0.0,
        rngs: nnx.Rngs,
    ):
        self.weight = uniform(rngs, (in_size, out_size), bound)
        self.bias = uniform(rngs, (out_size,), bias)

    def __call__(self, x: Float[Array, "... I"]) -> Float[Array, "... O"]:
        return project(x, self.weight[...]) + self.bias[...]
