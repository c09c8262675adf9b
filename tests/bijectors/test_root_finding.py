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
