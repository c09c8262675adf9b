"""Axes made explicit: those that NumPy adds in front, and those of a mesh that a carry lacks.

With them everything works under ``jax_numpy_rank_promotion=raise`` and inside ``jax.shard_map``
with ``check_vma``.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, PyTree


def aligned(a: ArrayLike, x: Array) -> Array:
    """``a`` with axes of size 1 in front, until it has as many as ``x``."""
    return jnp.expand_dims(a, range(jnp.ndim(x) - jnp.ndim(a)))


def varying_like(carry: PyTree, *others: Any) -> PyTree:
    """The first carry of a loop, varying over a mesh as that which the loop makes of it.

    Inside ``jax.shard_map`` a carry made from constants is the same on every device while the one
    after a step is not, which is a type error. Elsewhere this does nothing.

    Args:
        others: trees of all that the carry comes to depend on.
    """
    if jax.sharding.AxisType.Manual not in jax.sharding.get_abstract_mesh().axis_types:
        return carry
    # The type of a sum varies over the axes of all its terms; there is no other public way to it.
    leaves = jax.tree.leaves((carry, others))
    zero = sum(jnp.zeros_like(leaf, jnp.float32, ()) for leaf in leaves)
    return jax.tree.map(lambda leaf: leaf + jnp.zeros_like(zero, jnp.result_type(leaf)), carry)
