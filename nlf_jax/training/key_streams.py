"""The random keys of a run: one stream of its seed for each use."""

import enum

import jax
from jaxtyping import PRNGKeyArray


class Stream(enum.IntEnum):
    """What a key is for; runs depend on the numbers."""

    PARAMETERS = 0
    STEPS = 1
    VALIDATION = 2
    EVALUATION = 3
    GENERATION = 4


def stream_key(seed: int, stream: Stream) -> PRNGKeyArray:
    """The key of a use."""
    return jax.random.fold_in(jax.random.key(seed), int(stream))
