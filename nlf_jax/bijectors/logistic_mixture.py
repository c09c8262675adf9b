"""Scalar transform: the distribution function of a mixture of logistics (Ho et al., 2019, Flow++).

latent -> noise ``x = logit F(y)``, ``F(y) = sum_k w_k sigmoid(u_k)``, ``u_k = (y - m_k) / s_k``:
increasing, onto, and linear far out. With one component it is affine. The log-derivative is
``log F' - log F - log(1 - F)``, ``F'(y) = sum_k w_k sigmoid(u_k) sigmoid(-u_k) / s_k``. In float32:
the logarithms of F and 1 - F are summed up from log-sigmoids, so that neither tail loses its
digits.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nlf_jax.bijectors.root_finding import solve_increasing
from nlf_jax.bijectors.scalar import ScalarTransform
from nlf_jax.nn.axes import aligned, varying_like

# With all raw parameters at zero the means are spread evenly from -2 to 2, so that no two
# components start alike; log-scales are kept where exp and its inverse are float32.
SPREAD = 2.0
MAX_LOG_SCALE = 7.0


def _parameters(raw: Float[Array, "*n P"]) -> tuple[Array, Array, Array]:
    """Log-weights, means and log-scales, [*n, K] each."""
    weights, means, log_scales = jnp.split(raw, 3, axis=-1)
    num_components = weights.shape[-1]
    spread = SPREAD if num_components > 1 else 0.0
    offsets = np.linspace(-spread, spread, num_components, dtype=np.float32)
    log_scales = jnp.clip(0.5 * log_scales, -MAX_LOG_SCALE, MAX_LOG_SCALE)
    return jax.nn.log_softmax(weights), means + aligned(offsets, means), log_scales


def _to_noise(parameters: tuple[Array, Array, Array], y: Array) -> tuple[Array, Array]:
    """``logit F(y)`` and its log-derivative ``log f - log F - log(1 - F)``."""
    log_weights, means, log_scales = parameters
    u = (y[..., None] - means) * jnp.exp(-log_scales)
    log_below, log_above = jax.nn.log_sigmoid(u), jax.nn.log_sigmoid(-u)
    below = jax.nn.logsumexp(log_weights + log_below, axis=-1)
    above = jax.nn.logsumexp(log_weights + log_above, axis=-1)
    density = jax.nn.logsumexp(log_weights + log_below + log_above - log_scales, axis=-1)
    return below - above, density - below - above


@jax.custom_jvp
def _solve(log_weights: Array, means: Array, log_scales: Array, x: Array) -> Array:
    def function(y):
        value, log_slope = _to_noise((log_weights, means, log_scales), y)
        return value - x, jnp.exp(log_slope)

    # Where each component alone would have its logit at x.
    alone = means + jnp.exp(log_scales) * x[..., None]
    ends = varying_like((alone.min(-1), alone.max(-1)), log_weights)
    return solve_increasing(function, *ends)


@_solve.defjvp
def _solve_jvp(primals, tangents):
    """The implicit function theorem: ``f_y dy = dx - f_p dp``."""
    *parameters, x = primals
    y = _solve(*parameters, x)

    def at_y(*parameters):
        return _to_noise(parameters, y)

    (_, log_slope), (x_dot, _) = jax.jvp(at_y, tuple(parameters), tuple(tangents[:3]))
    return y, (tangents[3] - x_dot) * jnp.exp(-log_slope)


def mixture_inverse_and_log_det(
    raw: Float[Array, "*n P"], y: Float[Array, "*n"]
) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """Latent -> noise: ``x = logit F(y)``, log_det ``log F' - log F - log(1 - F)``.

    raw: K logits of the weights, K means less the spread that they start with, K of ``2 log s_k``.
    """
    return _to_noise(_parameters(raw), y)


def mixture_forward_and_log_det(
    raw: Float[Array, "*n P"], x: Float[Array, "*n"]
) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """Noise -> latent: the y for which ``mixture_inverse_and_log_det(raw, y)`` gives x.

    log_det is minus the inverse's at that y.
    """
    parameters = _parameters(raw)
    y = _solve(*parameters, jnp.broadcast_to(x, raw.shape[:-1]))
    return y, -_to_noise(parameters, y)[1]


@cache
def logistic_mixture(num_components: int) -> ScalarTransform:
    """The transform with K components, P = 3 K."""
    functions = (mixture_forward_and_log_det, mixture_inverse_and_log_det)
    return ScalarTransform(3 * num_components, *functions)
