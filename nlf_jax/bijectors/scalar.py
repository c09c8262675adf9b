"""Scalar transforms R -> R given raw (unconstrained) parameters: affine and NLSq.

forward is noise -> latent, inverse is latent -> noise; log_det is log|d output / d input| of that
very direction. All functions act elementwise: raw [..., P] and x [...].
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nlf_jax.bijectors.root_finding import FURTHEST, bump, solve_bump

# The transform increases for |k| below 8 sqrt(3) / 9; the authors' margin keeps its slope above
# 0.0324 b.
MAX_BUMP = 8 * math.sqrt(3) / 9 - 0.05
# Raw log-scales are clipped here: NLSq's scale, at most exp(28) then, has a cube in float32.
MAX_RAW_LOG_SCALE = 70.0

ScalarFunction = Callable[[Array, Array], tuple[Array, Array]]


class ScalarTransform(NamedTuple):
    """An increasing function f of one number, with ``num_params`` raw parameters.

    ``y = f(x; raw)``; log_det is ``log f'(x)``, and of the inverse ``-log f'(x)``.
    """

    num_params: int
    forward_and_log_det: ScalarFunction
    inverse_and_log_det: ScalarFunction


def inverted(transform: ScalarTransform) -> ScalarTransform:
    """The same transform with forward and inverse exchanged."""
    num_params, forward, inverse = transform
    return ScalarTransform(num_params, forward_and_log_det=inverse, inverse_and_log_det=forward)


def _clip_log_scale(raw: Array) -> Array:
    return jnp.clip(raw, -MAX_RAW_LOG_SCALE, MAX_RAW_LOG_SCALE)


def affine_forward_and_log_det(
    raw: Float[Array, "*n 2"], x: Float[Array, "*n"]
) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """Noise -> latent: y = a + b x with a = raw_0, log b = raw_1 / 2; log_det = log b."""
    log_b = 0.5 * _clip_log_scale(raw[..., 1])
    return raw[..., 0] + jnp.exp(log_b) * x, log_b


def affine_inverse_and_log_det(
    raw: Float[Array, "*n 2"], y: Float[Array, "*n"]
) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """Latent -> noise: x = (y - a) / b with a = raw_0, log b = raw_1 / 2; log_det = -log b."""
    log_b = 0.5 * _clip_log_scale(raw[..., 1])
    return (y - raw[..., 0]) * jnp.exp(-log_b), -log_b


def _exp_two_fifths(raw: Array) -> tuple[Array, Array]:
    """exp(0.4 r) to one ulp, and 0.4 r.

    Rounding 0.4 r alone would cost |0.4 r| ulps. Its error is found exactly: with h close to
    0.4 r, both subtractions in (2 r - 4 h) - h are free of rounding.
    """
    r = _clip_log_scale(raw)
    h = 0.4 * r
    rest = 0.2 * ((2 * r - 4 * h) - h)
    scale = jnp.exp(h)
    return scale + scale * rest, h


@jax.custom_jvp
def _unscaled(x: Array, b: Array, log_b: Array) -> Array:
    """``x / b``, with the derivative in log b: autodiff's in b is ``x / b^2``, which overflows."""
    del log_b
    return x / b


@_unscaled.defjvp
def _unscaled_jvp(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    (x, b, log_b), (dx, _, dlog_b) = primals, tangents
    quotient = _unscaled(x, b, log_b)
    return quotient, _unscaled(dx, b, log_b) - quotient * dlog_b


def _nlsq_parameters(raw: Array) -> tuple[Array, Array, Array, Array, Array, Array]:
    """a, b, log b, k, d, g of ``nlsq_inverse_and_log_det``."""
    b, log_b = _exp_two_fifths(raw[..., 1])
    k = MAX_BUMP * jnp.tanh(0.3 * raw[..., 2])
    d, _ = _exp_two_fifths(raw[..., 3])
    return raw[..., 0], b, log_b, k, d, raw[..., 4]


def _reachable(u: Array) -> Array:
    """Kept where its square is float32; beyond, the bump is 0 to float32, and its slope too."""
    return jnp.clip(u, -FURTHEST, FURTHEST)


def nlsq_inverse_and_log_det(
    raw: Float[Array, "*n 5"], y: Float[Array, "*n"]
) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """Latent -> noise, in closed form: x = a + b (y + (k / d) / (1 + u^2)), u = d y + g.

    This is x = a + b y + c / (1 + (d y + g)^2) of Ziegler & Rush (2019) with c = k b / d;
    a = raw_0, log b = 0.4 raw_1, k = (8 sqrt(3) / 9 - 0.05) tanh(0.3 raw_2), log d = 0.4 raw_3,
    g = raw_4. log_det = log b + log(1 - 2 k u / (1 + u^2)^2).
    """
    a, b, log_b, k, d, g = _nlsq_parameters(raw)
    u = _reachable(d * y + g)
    r = bump(jnp.ones_like(u), u)
    height = k * r
    # 2 k u r^2 is at most 0.968, so that rounding cannot take the logarithm's argument below zero.
    return a + b * (y + height / d), log_b + jnp.log1p(-2 * height * (u * r))


def nlsq_forward_and_log_det(
    raw: Float[Array, "*n 5"], x: Float[Array, "*n"]
) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """Noise -> latent: the y for which ``nlsq_inverse_and_log_det(raw, y)`` gives x.

    With e = (x - a) / b it solves u + k / (1 + u^2) = d e + g. Then y = e - (k / d) / (1 + u^2),
    not (u - g) / d, which loses the digits of a small y beside a large g. log_det is minus the
    inverse's at that y.
    """
    a, b, log_b, k, d, g = _nlsq_parameters(raw)
    e = _unscaled(x - a, b, log_b)
    u = solve_bump(k, _reachable(d * e + g))
    y = e - bump(k, u) / d
    return y, -nlsq_inverse_and_log_det(raw, y)[1]


AFFINE = ScalarTransform(2, affine_forward_and_log_det, affine_inverse_and_log_det)
NLSQ = ScalarTransform(5, nlsq_forward_and_log_det, nlsq_inverse_and_log_det)
TRANSFORMS = {"affine": AFFINE, "nlsq": NLSQ}
