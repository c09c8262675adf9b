"""Across D, in parallel both ways: split coupling, and an elementwise map given the context."""

import jax.numpy as jnp
from flax import nnx

from nlf_jax.bijectors.base import Bijector
from nlf_jax.bijectors.scalar import ScalarTransform
from nlf_jax.nn.linear import Linear
from nlf_jax.nn.mlp import MLP


class SplitCoupling(Bijector):
    """Transforms one part of the dimensions given the other (Dinh et al., 2017) and the context.

    ``floor(D/2)`` dimensions are kept, the first ones or, if ``reverse``, the last ones, which are
    ``y_A = x_A``; the others become ``y_d = f(x_d; theta_d)``, ``theta = net(x_A, context)``, f the
    transform. ``log_det = sum_d log f'(x_d; theta_d)`` over the others.
    """

    def __init__(
        self,
        size: int,
        context_size: int,
        hidden: int,
        hidden_layers: int,
        transform: ScalarTransform,
        *,
        reverse: bool,
        rngs: nnx.Rngs,
    ):
        self.size, self.reverse, self.transform = size, reverse, transform
        changed = size - size // 2
        outputs = changed * transform.num_params
        self.net = MLP(size // 2, context_size, hidden, hidden_layers, outputs, rngs=rngs)

    def _apply(self, function, x, context):
        kept = self.size // 2
        if self.reverse:
            others, given = jnp.split(x, [self.size - kept], axis=-1)
        else:
            given, others = jnp.split(x, [kept], axis=-1)
        raw = self.net(given, context)
        raw = raw.reshape(*raw.shape[:-1], self.size - kept, self.transform.num_params)
        others, log_det = function(raw, others)
        parts = (others, given) if self.reverse else (given, others)
        return jnp.concatenate(parts, axis=-1), log_det.sum(-1)

    def forward_and_log_det(self, x, context):
        """See ``Bijector``."""
        return self._apply(self.transform.forward_and_log_det, x, context)

    def inverse_and_log_det(self, y, context):
        """See ``Bijector``."""
        return self._apply(self.transform.inverse_and_log_det, y, context)


class Elementwise(Bijector):
    """Transforms every dimension by itself, with parameters affine in the context.

    ``y_d = f(x_d; theta_d)``, ``theta = context W + b``, ``log_det = sum_d log f'(x_d; theta_d)``.
    """

    def __init__(self, size: int, context_size: int, transform: ScalarTransform, *, rngs: nnx.Rngs):
        self.size, self.transform = size, transform
        self.net = Linear(context_size, size * transform.num_params, rngs=rngs)

    def _raw(self, context):
        raw = self.net(context)
        return raw.reshape(*raw.shape[:-1], self.size, self.transform.num_params)

    def forward_and_log_det(self, x, context):
        """See ``Bijector``."""
        y, log_det = self.transform.forward_and_log_det(self._raw(context), x)
        return y, log_det.sum(-1)

    def inverse_and_log_det(self, y, context):
        """See ``Bijector``."""
        x, log_det = self.transform.inverse_and_log_det(self._raw(context), y)
        return x, log_det.sum(-1)
