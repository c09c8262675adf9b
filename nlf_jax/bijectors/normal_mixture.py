"""A mixture of Gaussians of width 1 in one dimension, and its way to standard normal noise.

``eps = Phi^-1(F(y))`` with ``F(y) = sum_k w_k Phi(y - m_k)``, in float32: of F and 1 - F the
smaller one is taken, as a logarithm, so that neither tail loses its digits.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr, ndtri
from jaxtyping import Array, Float

from nlf_jax.bijectors.root_finding import solve_increasing
from nlf_jax.nn.axes import varying_like

LOG_SQRT_TWO_PI = 0.9189385332046727
# Below this the quantile starts from its asymptotic expansion.
FAR_TAIL = -40.0


def _log_density(x: Array) -> Array:
    return -0.5 * x * x - LOG_SQRT_TWO_PI


@jax.custom_jvp
def tail_quantile(log_tail: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """The t >= 0 with ``log Phi(-t) = log_tail``, at most log(1/2)."""
    near = -ndtri(jnp.exp(jnp.maximum(log_tail, FAR_TAIL)))
    twice = -2.0 * jnp.minimum(log_tail, FAR_TAIL)
    far = jnp.sqrt(twice - jnp.log(twice) - 2 * LOG_SQRT_TWO_PI)
    t = jnp.where(log_tail > FAR_TAIL, near, far)
    for _ in range(2):
        log_p = log_ndtr(-t)
        t = t + (log_p - log_tail) * jnp.exp(log_p - _log_density(t))
    return t


@tail_quantile.defjvp
def _tail_quantile_jvp(primals, tangents):
    """``d log Phi(-t) = -phi(t) / Phi(-t) dt``."""
    t = tail_quantile(primals[0])
    return t, -tangents[0] * jnp.exp(log_ndtr(-t) - _log_density(t))


def mixture_to_noise(
    log_weights: Float[Array, "*n K"], u: Float[Array, "*n K"]
) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """Noise eps of a point y, and log d eps / d y.

    ``eps = Phi^-1(F(y))``, ``log d eps / d y = log sum_k w_k phi(y - m_k) - log phi(eps)``.

    Args:
        log_weights: of the components, normalised.
        u: the distances ``y - m_k``.
    """
    noise = _noise(log_weights, u)
    log_density = jax.nn.logsumexp(log_weights + _log_density(u), axis=-1)
    return noise, log_density - _log_density(noise)


def _noise(log_weights: Array, u: Array) -> Array:
    below = jax.nn.logsumexp(log_weights + log_ndtr(u), axis=-1)
    above = jax.nn.logsumexp(log_weights + log_ndtr(-u), axis=-1)
    # Rounding can leave both above log(1/2).
    tail = jnp.minimum(jnp.minimum(below, above), -jnp.log(2.0))
    t = tail_quantile(tail)
    return jnp.where(below < above, -t, t)


@jax.custom_jvp
def _solve(log_weights, means, noise):
    # Mirrored where the noise is positive, so that F is in its lower half.
    sign = jnp.where(noise > 0, -1.0, 1.0)
    means, noise = sign[..., None] * means, sign * noise
    log_p = log_ndtr(noise)

    def function(y):
        u = y[..., None] - means
        log_cdf = jax.nn.logsumexp(log_weights + log_ndtr(u), axis=-1)
        log_density = jax.nn.logsumexp(log_weights + _log_density(u), axis=-1)
        return log_cdf - log_p, jnp.exp(log_density - log_cdf)

    # Were all components at m_k it would be m_k + noise.
    ends = means.min(-1) + noise, means.max(-1) + noise
    return sign * solve_increasing(function, *varying_like(ends, log_weights))


@_solve.defjvp
def _solve_jvp(primals, tangents):
    """The implicit function theorem: ``f_y dy = d noise - f_w dw - f_m dm``."""
    log_weights, means, noise = primals
    y = _solve(log_weights, means, noise)

    def at_y(log_weights, means):
        return mixture_to_noise(log_weights, y[..., None] - means)

    (_, log_slope), (noise_dot, _) = jax.jvp(at_y, primals[:2], tangents[:2])
    return y, (tangents[2] - noise_dot) * jnp.exp(-log_slope)


def noise_to_mixture(
    log_weights: Float[Array, "*n K"], means: Float[Array, "#*n K"], noise: Float[Array, "*n"]
) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """The point y of a noise, and log d y / d eps; see ``mixture_to_noise``."""
    means = jnp.broadcast_to(means, log_weights.shape)
    y = _solve(log_weights, means, noise)
    return y, -mixture_to_noise(log_weights, y[..., None] - means)[1]
