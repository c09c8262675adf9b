"""Random keys for the parameters of a network."""

import jax
from jaxtyping import PRNGKeyArray


class KeyStream:
    """The keys of ``nnx.Rngs(params=key)``, one after the other.

    That counts on the device, and under tracing each of its counts costs more than the one before:
    a network of 300 layers took minutes to describe.
    """

    def __init__(self, key: PRNGKeyArray):
        self._key, self._count = key, 0

    def params(self) -> PRNGKeyArray:
        """The next key."""
        self._count += 1
        return jax.random.fold_in(self._key, self._count - 1)
