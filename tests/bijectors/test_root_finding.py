"""The root against its own equation in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nlf_jax.bijectors.root_finding import solve_bump, solve_increasing


def test_root_leaves_a_residual_of_rounding_only():
    near_limit = 8 * np.sqrt(3) / 9 - np.geomspace(1e-3, 1, 60)
    k = np.float32(np.concatenate([np.linspace(0, 1.49, 100), near_limit, [1e-30]]))
    large = np.geomspace(12, 1e30, 100)
    s = np.concatenate([np.linspace(-12, 12, 3001), np.linspace(1.4, 2.1, 1001), large, -large])
    k, s = (v.ravel() for v in np.meshgrid(k, np.float32(s)))
    for sign in (1, -1):
        u = np.float64(jax.jit(solve_bump)(sign * k, sign * s))
        residual = u + sign * k / (1 + u * u) - sign * np.float64(s)
        assert np.max(np.abs(residual) / np.maximum(1, np.abs(s))) < 2 * 2.0**-23
        assert solve_bump(np.float32(1), np.float32(sign * np.inf)) == sign * np.inf


@pytest.mark.parametrize("s", [-1e3, -2.0, 0.5, 1.7320508, 1e3])
def test_derivative_is_the_implicit_one(s):
    k = 1.25
    u = np.float64(solve_bump(np.float32(k), np.float32(s)))
    slope = 1 - 2 * k * u / (1 + u * u) ** 2
    expected = (-1 / (1 + u * u) / slope, 1 / slope)
    gradient = jax.grad(solve_bump, argnums=(0, 1))(np.float32(k), np.float32(s))
    np.testing.assert_allclose(gradient, expected, rtol=2e-6)


# Increasing functions, x being the distance from their root: (value, derivative). Newton's method
# alone overshoots on some and crawls on others.
HARD = {
    "line": lambda x: (x, jnp.ones_like(x)),
    "cube": lambda x: (x**3, 3 * x**2),
    "step": lambda x: (jnp.tanh(1e4 * x) + 1e-3 * x, 1e4 / jnp.cosh(1e4 * x) ** 2 + 1e-3),
    "plateau": lambda x: (jnp.sinh(x) ** 3 + 1e-12 * x, 3 * jnp.sinh(x) ** 2 * jnp.cosh(x) + 1e-12),
    "cube root": lambda x: (jnp.cbrt(x), jnp.abs(x) ** (-2 / 3) / 3),
    "exponential": lambda x: (jnp.expm1(5 * x), 5 * jnp.exp(5 * x)),
    "kink": lambda x: (jnp.where(x > 0, 1e3, 1e-3) * x, jnp.where(x > 0, 1e3, 1e-3)),
}


@pytest.mark.parametrize("name", HARD)
def test_increasing_functions_are_solved_to_rounding(name):
    """A thousand roots at once, each of which is found after another number of steps."""
    rng = np.random.default_rng(0)
    root = np.float32(rng.choice([-1, 1], 1000) * np.geomspace(1e-3, 8, 1000))
    low = root - np.float32(rng.choice([0.0, 1e-3, 1.0, 12.0], 1000))
    high = root + np.float32(rng.choice([0.0, 1e-3, 1.0, 12.0], 1000))
    solve = lambda root, low, high: solve_increasing(lambda x: HARD[name](x - root), low, high)  # noqa: E731
    found = jax.jit(solve)(root, low, high)
    # At a triple root Newton's last step, of two ulps, is a third of the way that is left.
    assert np.all(np.abs(found - root) <= 8 * 2.0**-23 * np.abs(root))
    # No root depends on the others.
    alone = jax.jit(jax.vmap(lambda *args: solve(*(a[None] for a in args))[0]))(root, low, high)
    np.testing.assert_array_equal(found, alone)


def cubic_roots(targets):
    """The x with x + x^3 = target, which lie between 0 and the target, all solved at once."""
    function = lambda x: (x + x**3 - targets, 1 + 3 * x * x)  # noqa: E731
    return solve_increasing(function, jnp.minimum(targets, 0.0), jnp.maximum(targets, 0.0))


def test_a_root_does_not_depend_on_the_others():
    # 2 and 10 have roots at which the residual is zero, and others need more steps.
    targets = jnp.concatenate([jnp.array([2.0, 10.0, 0.0]), jnp.geomspace(1e-3, 1e6, 40)])
    pairs = jnp.stack(jnp.meshgrid(targets, -targets), axis=-1).reshape(-1, 2)
    roots = np.float64(jax.jit(lambda t: jax.lax.map(cubic_roots, t))(pairs))
    alone = np.float64(jax.jit(lambda t: jax.lax.map(cubic_roots, t))(pairs.reshape(-1)))
    np.testing.assert_allclose(roots, alone.reshape(-1, 2), rtol=4 * 2.0**-23)
    residual = roots + roots**3 - np.float64(pairs)
    assert np.max(np.abs(residual) / np.maximum(1e-30, np.abs(pairs))) < 8 * 2.0**-23


def test_a_solution_that_is_not_finite_ends():
    roots = cubic_roots(jnp.array([2.0, jnp.nan, 10.0]))
    np.testing.assert_allclose(roots, [1.0, np.nan, 2.0], rtol=1e-6)
