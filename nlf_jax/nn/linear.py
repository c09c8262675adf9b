"""Linear maps with an explicit initial range and explicit matrix products."""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from nlf_jax.nn.axes import aligned

FULL_PRECISION = jax.lax.Precision.HIGHEST
# For factors that are bfloat16 already: one pass on a TPU, TF32 on a GPU, both without a further
# rounding of them.
_ONE_PASS = jax.lax.Precision.DEFAULT


def uniform(rngs: nnx.Rngs, shape: tuple[int, ...], bound: float) -> nnx.Param:
    """Parameter drawn from U(-bound, bound)."""
    return nnx.Param(jax.random.uniform(rngs.params(), shape, jnp.float32, -bound, bound))


def project(
    x: Float[Array, "... I"], weight: Float[Array, "I O"], products: str = "float32"
) -> Float[Array, "... O"]:
    """``x W`` on the last axis, with the same roundings on every platform.

    As one product of two matrices, which makes of the weight's gradient one too. With several axes
    to sum over XLA would copy the larger factor of it for a CPU.

    Args:
        products: "float32", or "bfloat16": both factors are rounded to that and their products
            added up in float32. A gradient is a product with the other factor, and rounded too.
    """
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    if products == "bfloat16":
        product = jnp.matmul(_rounded(rows), _rounded(weight), precision=_ONE_PASS)
    else:
        product = jnp.matmul(rows, weight, precision=FULL_PRECISION)
    return product.reshape(*x.shape[:-1], weight.shape[-1])


def _rounded(x: Array) -> Array:
    """To the nearest bfloat16, kept as float32."""
    return jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)


@jax.custom_jvp
def look_up(table: Float[Array, "N F"], index: Int[Array, "*n"]) -> Float[Array, "*n F"]:
    """``table[index]``, a product with one-hots that is not carried out.

    The tangent is such a product, and so is what the backward pass makes of it: on a CPU many times
    faster than the scatter that JAX would transpose the look-up into.
    """
    return table[index]


@look_up.defjvp
def _look_up_jvp(primals, tangents):
    (table, index), (table_dot, _) = primals, tangents
    return look_up(table, index), project(
        jax.nn.one_hot(index, table.shape[0], dtype=table.dtype), table_dot
    )


class Linear(nnx.Module):
    """``y = x W + b`` on the last axis.

    Args:
        bound: range of the initial weight.
        bias: range of the initial bias.
        products: see ``project``.
    """

    def __init__(
        self,
        in_size: int,
        out_size: int,
        *,
        bound: float = 0.07,
        bias: float = 0.0,
        products: str = "float32",
        rngs: nnx.Rngs,
    ):
        self.products = products
        self.weight = uniform(rngs, (in_size, out_size), bound)
        self.bias = uniform(rngs, (out_size,), bias)

    def __call__(self, x: Float[Array, "... I"]) -> Float[Array, "... O"]:
        return self.product(x) + aligned(self.bias[...], x)

    def product(self, x: Float[Array, "... I"]) -> Float[Array, "... O"]:
        """``x W``, for where the bias is added later."""
        return project(x, self.weight[...], self.products)
