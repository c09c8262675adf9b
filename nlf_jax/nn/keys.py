"""Random keys with batch axes."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray


def split_each(keys: PRNGKeyArray, num: int = 2) -> tuple[PRNGKeyArray, ...]:
    """``num`` keys for each of [*B]: as many arrays of that shape."""
    split = partial(jax.random.split, num=num)
    for _ in range(keys.ndim):
        split = jax.vmap(split)
    several = split(keys)
    # Not transposed and unpacked: ``jax_debug_key_reuse`` takes a transposition for a use.
    return tuple(several[..., index] for index in range(num))


def split_for_steps(keys: PRNGKeyArray, num_steps: int) -> PRNGKeyArray:
    """Keys [T, N] for the steps of each of [N]."""
    several = jax.vmap(partial(jax.random.split, num=num_steps))(keys)
    rows, steps = jnp.arange(keys.shape[0])[None], jnp.arange(num_steps)[:, None]
    return several[rows, steps]
