"""Roots in float32 and a bounded number of steps; derivatives by the implicit function theorem.

``solve_bump``: u + k / (1 + u^2) = s, to which every NLSq transform reduces. ``solve_increasing``:
any increasing function.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

BISECTIONS = 3
HALLEY_STEPS = 3
# Beyond it the root is s to float32 rounding, and the cubic would overflow.
LARGE = 1000.0
# Its square is float32.
FURTHEST = 1e19
MOST_STEPS = 48
TWO_ULPS = 2.0**-22
SMALLEST_SLOPE = 1e-30


@jax.custom_jvp
def bump(k: Float[Array, "*n"], u: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """``k / (1 + u^2)``, and its derivatives, for any u between +-``FURTHEST``."""
    return k / (1 + u * u)


@bump.defjvp
def _bump_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """``r dk - 2 k u r^2 du``, where autodiff would square ``1 / r`` and overflow."""
    (k, u), (dk, du) = primals, tangents
    r = bump(jnp.ones_like(u), u)
    return bump(k, u), r * dk - 2 * (k * r) * (u * r) * du


def _cubic(u: Array, k: Array, s: Array) -> Array:
    """(u - s)(1 + u^2) + k: the equation without its division, of the same sign."""
    return (u - s) * (1 + u * u) + k


def _bisect(k: Array, s: Array) -> Array:
    """A start within |k| / 16 of the root, from the bracket [s - k, s] (either order)."""
    u, step = s - 0.5 * k, 0.25 * jnp.abs(k)
    for _ in range(BISECTIONS):
        u = u - jnp.where(_cubic(u, k, s) > 0, step, -step)
        step = 0.5 * step
    return u


def _halley(u: Array, k: Array, s: Array) -> Array:
    """One step of Halley's method on the cubic."""
    value = _cubic(u, k, s)
    slope = 1 + u * u + 2 * u * (u - s)
    half_curvature = 3 * u - s
    return u - value * slope / (slope * slope - value * half_curvature)


@jax.custom_jvp
def solve_bump(k: Float[Array, "*n"], s: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Solve u + k / (1 + u^2) = s for u, elementwise.

    Args:
        k: height of the bump, |k| < 8 sqrt(3) / 9: below that the left-hand side increases.
        s: right-hand side, any size.

    Returns:
        u, with a residual below two float32 ulps of max(1, |s|) (seven where k is within 0.001 of
        its limit). Differentiable in k and s any number of times, in either mode.
    """
    s_inner = jnp.clip(s, -LARGE, LARGE)
    u = _bisect(k, s_inner)
    for _ in range(HALLEY_STEPS):
        u = _halley(u, k, s_inner)
    return u + (s - s_inner)


@solve_bump.defjvp
def _solve_bump_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    """(1 - 2 k u r^2) du = ds - r dk with r = 1 / (1 + u^2)."""
    k, s = primals
    dk, ds = tangents
    u = solve_bump(k, s)
    r = bump(jnp.ones_like(u), u)
    return u, (ds - r * dk) / (1 - 2 * (k * r) * (u * r))


def solve_increasing(
    function: Callable[[Array], tuple[Array, Array]],
    low: Float[Array, "*n"],
    high: Float[Array, "*n"],
) -> Float[Array, "*n"]:
    """The root of an increasing function between low and high, elementwise.

    Newton's method, and a bisection where that would leave the bracket or is not at least twice as
    short as the step before, so that slow progress ends at once. An element has settled when it
    moves by two ulps or less, and stays there whatever the others do; the end is when all have, or
    after ``MOST_STEPS``. Derivatives are the caller's, by the implicit function theorem.

    Args:
        function: x -> (value, derivative).
    """

    def step(carry):
        number, x, low, high, last = carry
        value, slope = function(x)
        low, high = jnp.where(value < 0, x, low), jnp.where(value > 0, x, high)
        move, small = -value / jnp.maximum(slope, SMALLEST_SLOPE), TWO_ULPS * jnp.abs(x)
        fine = (x + move > low) & (x + move < high) & (2 * jnp.abs(move) < jnp.abs(last))
        move = jnp.where(fine | (jnp.abs(move) <= small), move, 0.5 * low + 0.5 * high - x)
        # A last move of zero is the mark of an element that has settled.
        settled = last == 0
        x = jnp.where(settled, x, x + move)
        return number + 1, x, low, high, jnp.where(settled | (jnp.abs(move) <= small), 0.0, move)

    def moves(carry):
        number, *_, last = carry
        return (number < MOST_STEPS) & jnp.any(jnp.abs(last) > 0)

    start = (0, 0.5 * low + 0.5 * high, low, high, high - low)
    return jax.lax.while_loop(moves, step, start)[1]
