"""The bijector contract and the ways to compose bijectors."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


class Bijector(nnx.Module):
    """An invertible map of one event, noise to latent: ``y = f(x)``, given a context.

    With noise of density p_x the latent's is ``log p(y) = log p_x(x) + log |det dx/dy|``,
    ``x = f^-1(y)``; the log_dets of the two directions at the same point add up to 0.

    Across the D hidden dimensions an event is [D], the context is a vector [C] and a log_det is [].
    Across T steps an event is [T, D], the context is a ``SequenceContext`` and a log_det is [T]:
    one term per step, whose sum over the real steps is the log-determinant.

    Many events at once: ``jax.vmap``, or batch axes *B, which come before D and after T. Events are
    then [*B, D] with log_det [*B], and [T, *B, D] with log_det [T, *B]; those of a context may be
    of size 1. That gives the same and is faster across T, where steps have to come first.
    """

    def forward_and_log_det(self, x: Array, context: Any) -> tuple[Array, Array]:
        """Noise to latent: (y, log |det dy/dx|)."""
        raise NotImplementedError

    def inverse_and_log_det(self, y: Array, context: Any) -> tuple[Array, Array]:
        """Latent to noise: (x, log |det dx/dy|)."""
        raise NotImplementedError


class Inverse(Bijector):
    """The given bijector g with its two directions exchanged.

    ``y = g^-1(x)``, ``log |det dy/dx| = -log |det dg(y)/dy|``.
    """

    def __init__(self, bijector: Bijector):
        self.bijector = bijector

    def forward_and_log_det(self, x, context):
        """See ``Bijector``."""
        return self.bijector.inverse_and_log_det(x, context)

    def inverse_and_log_det(self, y, context):
        """See ``Bijector``."""
        return self.bijector.forward_and_log_det(y, context)


class Chain(Bijector):
    """Bijectors one after the other; the first of the list acts first on the noise.

    ``y = f_n(.. f_2(f_1(x)))``; log_det is the sum of theirs, each at what it is handed.
    """

    def __init__(self, bijectors: list[Bijector]):
        self.bijectors = nnx.List(bijectors)

    def contexts(self, context: Any) -> Sequence[Any]:
        """What each bijector is given: the same, unless a subclass says otherwise."""
        return [context] * len(self.bijectors)

    def forward_and_log_det(self, x, context):
        """See ``Bijector``."""
        log_dets = []
        for bijector, own in zip(self.bijectors, self.contexts(context), strict=True):
            x, log_det = bijector.forward_and_log_det(x, own)
            log_dets.append(log_det)
        return x, sum(log_dets)

    def inverse_and_log_det(self, y, context):
        """See ``Bijector``."""
        log_dets = []
        pairs = list(zip(self.bijectors, self.contexts(context), strict=True))
        for bijector, own in reversed(pairs):
            y, log_det = bijector.inverse_and_log_det(y, own)
            log_dets.append(log_det)
        return y, sum(log_dets)


class Reverse(Bijector):
    """Reverses the order of the D dimensions: ``y_d = x_{D+1-d}``; log_det 0."""

    def forward_and_log_det(self, x, context):
        """See ``Bijector``."""
        return jnp.flip(x, -1), jnp.zeros(x.shape[:-1], x.dtype)

    def inverse_and_log_det(self, y, context):
        """See ``Bijector``."""
        return self.forward_and_log_det(y, context)


def standard_normal_log_prob(x: Float[Array, "... D"]) -> Float[Array, "..."]:
    """Log density of N(0, I): ``-sum_d (x_d^2 + log(2 pi)) / 2``."""
    return jax.scipy.stats.norm.logpdf(x).sum(-1)
