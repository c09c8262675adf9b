"""Scalar transforms R -> R given raw (unconstrained) parameters: affine and NLSq.

forward is noise -> latent, inverse is latent -> noise; log_det is log|d output / d input| of that very direction. All
functions act elementwise: raw [..., P] and x [...].
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from nlf_jax.bijectors.root_finding import solve_bump

AFFINE_LOG_SCALE = 0.5
NLSQ_LOG_SCALE = 0.4
NLSQ_BUMP_SCALE = 0.3
# The transform is monotone below 8 sqrt(3) / 9; the authors' margin keeps the slope above 0.0325 b.
MAX_BUMP = 8 * math.sqrt(3) / 9 - 0.05
# Keeps exp() and the quotient of two scales finite for any finite raw parameter.
MAX_LOG_SCALE = 40.0

ScalarFunction = Callable[[Array, Array], tuple[Array, Array]]


class ScalarTransform(NamedTuple):
    """A monotone function of one number and `num_params` raw parameters."""

    num_params: int
    forward_and_log_det: ScalarFunction
    inverse_and_log_det: ScalarFunction


def inverted(transform: ScalarTransform) -> ScalarTransform:
    """Exchange forward and inverse."""
    return ScalarTransform(
        transform.num_params, transform.inverse_and_log_det, transform.forward_and_log_det
    )


def _log_scale(raw: Array, factor: float) -> Array:
    return jnp.clip(factor * raw, -MAX_LOG_SCALE, MAX_LOG_SCALE)


def affine_forward_and_log_det(
    raw: Float[Array, "*n 2"], x: Float[Array, "*n"]
) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """y = a + b x with a = raw_0 and log b = raw_1 / 2; log_det = log b."""
    log_b = _log_scale(raw[..., 1], AFFINE_LOG_SCALE)
    return raw[..., 0] + jnp.exp(log_b) * x, log_b


def affine_inverse_and_log_det(
    raw: Float[Array, "*n 2"], y: Float[Array, "*n"]
) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """x = (y - a) / b with a = raw_0 and log b = raw_1 / 2; log_det = -log b."""
    log_b = _log_scale(raw[..., 1], AFFINE_LOG_SCALE)
    return (y - raw[..., 0]) * jnp.exp(-log_b), -log_b


def _nlsq_parameters(raw: Array) -> tuple[Array, ...]:
    """a, log b, k, d, g of `nlsq_inverse_and_log_det`."""
    log_b = _log_scale(raw[..., 1], NLSQ_LOG_SCALE)
    k = MAX_BUMP * jnp.tanh(NLSQ_BUMP_SCALE * raw[..., 2])
    d = jnp.exp(_log_scale(raw[..., 3], NLSQ_LOG_SCALE))
    return raw[..., 0], log_b, k, d, raw[..., 4]


def _bump_and_log_slope(k: Array, u: Array) -> tuple[Array, Array]:
    """k r and log(1 - 2 k u r^2) with r = 1 / (1 + u^2): the argument stays above 0.03."""
    r = 1 / (1 + u * u)
    return k * r, jnp.log1p(-2 * (k * r) * (u * r))


def nlsq_inverse_and_log_det(
    raw: Float[Array, "*n 5"], y: Float[Array, "*n"]
) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """Latent -> noise, in closed form: x = a + b (y + (k / d) / (1 + u^2)), u = d y + g.

    a = raw_0, log b = 0.4 raw_1, k = (8 sqrt(3) / 9 - 0.05) tanh(0.3 raw_2), log d = 0.4 raw_3, g = raw_4, so that
    c = k b / d in the paper's z = a + b e + c / (1 + (d e + g)^2) (Ziegler & Rush 2019, section 4).
    log_det = log b + log(1 - 2 k u / (1 + u^2)^2).
    """
    a, log_b, k, d, g = _nlsq_parameters(raw)
    bump, log_slope = _bump_and_log_slope(k, d * y + g)
    return a + jnp.exp(log_b) * (y + bump / d), log_b + log_slope


def nlsq_forward_and_log_det(
    raw: Float[Array, "*n 5"], x: Float[Array, "*n"]
) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """Noise -> latent, the root y of `nlsq_inverse_and_log_det`(raw, y) = x; log_det is minus the one there.

    y is rebuilt from the equation, not as (u - g) / d, which would lose the digits of a small y beside a large g.
    """
    a, log_b, k, d, g = _nlsq_parameters(raw)
    e = (x - a) / jnp.exp(log_b)
    bump, log_slope = _bump_and_log_slope(k, solve_bump(k, d * e + g))
    return e - bump / d, -(log_b + log_slope)


AFFINE = ScalarTransform(2, affine_forward_and_log_det, affine_inverse_and_log_det)
NLSQ = ScalarTransform(5, nlsq_forward_and_log_det, nlsq_inverse_and_log_det)
TRANSFORMS = {"affine": AFFINE, "nlsq": NLSQ}
