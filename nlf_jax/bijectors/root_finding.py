"""The root u of u + k / (1 + u^2) = s, in float32 and a fixed number of steps.

Every NLSq transform reduces to this one equation; its derivatives come from the implicit function theorem.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

BISECTIONS = 2
HALLEY_STEPS = 3
# Beyond this |s| the root is s to float32 rounding; solving there too would overflow the cubic.
LARGE = 1000.0


def _bisect(low: Array, high: Array, k: Array, s: Array) -> tuple[Array, Array]:
    """Halve the bracket [low, high] of the root."""
    u = 0.5 * (low + high)
    right_of_root = (u - s) * (1 + u * u) + k > 0
    return jnp.where(right_of_root, low, u), jnp.where(right_of_root, u, high)


def _halley(u: Array, k: Array, s: Array) -> Array:
    """One Halley step on the cubic (u - s)(1 + u^2) + k = 0."""
    gap, m = u - s, 1 + u * u
    value = gap * m + k
    slope = m + 2 * u * gap
    half_curvature = 3 * u - s
    return u - value * slope / (slope * slope - value * half_curvature)


@jax.custom_jvp
def solve_bump(k: Float[Array, "*n"], s: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Solve u + k / (1 + u^2) = s for u.

    Args:
      k: height of the bump, |k| < 8 sqrt(3) / 9, where the left-hand side is increasing.
      s: right-hand side.

    Returns:
      u, with a residual of a few float32 ulps of max(1, |s|). Differentiable any number of times, in either mode.
    """
    s_inner = jnp.clip(s, -LARGE, LARGE)
    low, high = s_inner - jnp.maximum(k, 0), s_inner - jnp.minimum(k, 0)
    bracket = low, high
    for _ in range(BISECTIONS):
        bracket = _bisect(*bracket, k, s_inner)
    u = 0.5 * (bracket[0] + bracket[1])
    for _ in range(HALLEY_STEPS):
        u = jnp.clip(_halley(u, k, s_inner), low, high)
    return u + (s - s_inner)


@solve_bump.defjvp
def _solve_bump_jvp(primals, tangents):
    """Implicit function theorem: (1 - 2 k u r^2) du = ds - r dk with r = 1 / (1 + u^2)."""
    k, s = primals
    dk, ds = tangents
    u = solve_bump(k, s)
    r = 1 / (1 + u * u)
    return u, (ds - r * dk) / (1 - 2 * k * u * r * r)
