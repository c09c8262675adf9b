"""The scalar mixtures against float64, in their tails and at the edges."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import special

from nlf_jax.bijectors.base import standard_normal_log_prob
from nlf_jax.bijectors.codebook import Codebook
from nlf_jax.bijectors.logistic_mixture import logistic_mixture
from nlf_jax.bijectors.normal_mixture import mixture_to_noise, noise_to_mixture, tail_quantile
from tests.bijectors.table import drawn
from tests.bijectors.test_scalar import jacobian64

EPS = 2.0**-23
COMPONENTS = 3
MIXTURE = logistic_mixture(COMPONENTS)
DIRECTIONS = ("forward_and_log_det", "inverse_and_log_det")
each_direction = pytest.mark.parametrize("direction", DIRECTIONS)
pytestmark = pytest.mark.usefixtures("quick_compilation")


def draw(n, spread=1.0, seed=0):
    rng = np.random.default_rng(seed)
    raw = spread * rng.standard_normal((n, 3 * COMPONENTS))
    return raw.astype(np.float32), (3 * rng.standard_normal(n)).astype(np.float32)


def inverse64(raw, y):
    """Latent to noise: (logit F(y), log of its derivative)."""
    weights, means, log_scales = np.split(np.float64(raw), 3, axis=-1)
    log_weights = special.log_softmax(weights, axis=-1)
    means, log_scales = means + np.linspace(-2, 2, COMPONENTS), np.clip(log_scales / 2, -7, 7)
    u = (np.float64(y)[..., None] - means) * np.exp(-log_scales)
    below, above = special.log_expit(u), special.log_expit(-u)
    log_f = special.logsumexp(log_weights + below + above - log_scales, axis=-1)
    below, above = (special.logsumexp(log_weights + tail, axis=-1) for tail in (below, above))
    return below - above, log_f - below - above


def forward64(raw, x):
    """The inverse's root by bisection to the last bit of float64."""
    low, high = np.full(raw.shape[:-1], -1e8), np.full(raw.shape[:-1], 1e8)
    for _ in range(90):
        middle = (low + high) / 2
        under = inverse64(raw, middle)[0] < x
        low, high = np.where(under, middle, low), np.where(under, high, middle)
    return low, -inverse64(raw, low)[1]


FLOAT64 = dict(zip(DIRECTIONS, (forward64, inverse64), strict=True))


@each_direction
@pytest.mark.parametrize("spread", [0.3, 2.0])
def test_value_and_log_det(direction, spread):
    """Rounding: of y and the means beside the scales, and of the terms of the logarithms."""
    raw, x = draw(1000, spread)
    value, log_det = jax.jit(getattr(MIXTURE, direction))(raw, x)
    expected, expected_log_det = FLOAT64[direction](raw, x)
    y, noise = (value, x) if direction == "forward_and_log_det" else (x, value)
    _, means, log_scales = np.split(np.float64(raw), 3, axis=-1)
    nearby = (np.abs(y) + np.abs(means).max(-1) + 2) * np.exp(-log_scales.min(-1) / 2)
    rounding = EPS * (4 + np.abs(noise) + nearby)
    slope = np.exp(expected_log_det) if direction == "forward_and_log_det" else 1.0
    beside = EPS * np.abs(expected)
    assert np.all(np.abs(value - expected) <= 4 * (rounding * slope + beside))
    assert np.all(np.abs(log_det - expected_log_det) <= 8 * rounding)


@each_direction
def test_derivatives(direction):
    v = np.concatenate([a.reshape(50, -1) for a in draw(50)], axis=1)
    function = lambda v: jnp.stack(getattr(MIXTURE, direction)(v[:-1], v[-1]))  # noqa: E731
    expected = jacobian64(
        lambda v: np.stack(FLOAT64[direction](v[..., :-1], v[..., -1]), axis=-1), 1e-3
    )(np.float64(v))
    scale = np.abs(expected).max((1, 2), keepdims=True)
    for mode in (jax.jacfwd, jax.jacrev):
        found = jax.jit(jax.vmap(mode(function)))(v)
        # 8 roundings of a slope's factors; the stencil's own error is 1e-10.
        assert np.max(np.abs(found - expected) / scale) < 1e-5


def test_extremes_are_finite_and_come_back():
    """Raw parameters of ten times the usual spread, noise and latents of up to a thousand."""
    raw, _ = draw(2000, spread=10.0, seed=1)
    x = np.float32(np.resize([-1e3, -30.0, -1.0, 0.0, 1e-3, 7.0, 1e3], 2000))

    @partial(jax.jit, static_argnums=0)
    @partial(jax.vmap, in_axes=(None, 0, 0))
    def everything(direction, raw, x):
        function = getattr(MIXTURE, direction)
        return function(raw, x), jax.jacrev(lambda *args: jnp.stack(function(*args)), (0, 1))(
            raw, x
        )

    for direction in DIRECTIONS:
        assert all(np.isfinite(a).all() for a in jax.tree.leaves(everything(direction, raw, x)))
    (y, _), _ = everything("forward_and_log_det", raw, x)
    back, log_slope = inverse64(raw, y)
    # The float32 next to y may be far away for the noise: steep where a scale is small.
    assert np.all(
        np.abs(back - x)
        <= 8 * EPS * (1 + np.abs(x) + np.exp(log_slope) * (4 + np.abs(y) + np.abs(raw).max(-1)))
    )


def test_one_component_is_affine():
    raw = np.float32([0.7, -1.3, 0.8])
    y, log_det = logistic_mixture(1).forward_and_log_det(jnp.tile(raw, (5, 1)), np.arange(-2.0, 3))
    np.testing.assert_allclose(y, -1.3 + np.exp(0.4) * np.arange(-2.0, 3), rtol=1e-6)
    np.testing.assert_allclose(log_det, 0.4, rtol=1e-6)


# Gaussians


def test_tail_quantile():
    """Against SciPy's, from log(1/2) down to -10,000; the slope by its definition."""
    log_tail = np.float32(
        -np.concatenate([np.linspace(0.6931472, 60, 2000), np.geomspace(60, 1e4)])
    )
    t, slope = jax.jit(jax.vmap(jax.value_and_grad(tail_quantile)))(log_tail)
    expected = -special.ndtri_exp(np.float64(log_tail))
    # A logarithm's last bit moves t by its slope; at t = 0 that is all there is.
    hazard = np.exp(special.log_ndtr(-expected) + expected**2 / 2) * np.sqrt(2 * np.pi)
    atol = 4 * EPS * (np.abs(expected) + np.abs(log_tail) * hazard)
    assert np.all(np.abs(t - expected) <= atol)
    np.testing.assert_allclose(slope, -hazard, rtol=2e-3)


def test_gaussian_mixture_against_float64():
    """Both directions, with components far apart and far away."""
    rng = np.random.default_rng(0)
    log_weights = special.log_softmax(4 * rng.standard_normal((500, 4)), axis=-1)
    means = rng.standard_normal((500, 4)) * np.resize([1.0, 4.0, 12.0], (500, 1))
    y = means[:, 0] + 2 * rng.standard_normal(500)
    u = np.float32(y[:, None] - means)
    noise, log_det = jax.jit(mixture_to_noise)(np.float32(log_weights), u)
    u = np.float64(u)
    below, above = (
        special.logsumexp(log_weights + special.log_ndtr(s * u), axis=-1) for s in (1, -1)
    )
    expected = np.where(below < above, special.ndtri_exp(below), -special.ndtri_exp(above))
    np.testing.assert_allclose(noise, expected, rtol=2e-6, atol=2e-6)
    log_density = special.logsumexp(log_weights - u**2 / 2, axis=-1)
    np.testing.assert_allclose(log_det, log_density + expected**2 / 2, rtol=1e-5, atol=1e-5)
    back, log_det_back = jax.jit(noise_to_mixture)(np.float32(log_weights), -np.float32(u), noise)
    # Between two components, where the density is small, noise says little about y.
    slope = np.exp(np.clip(-log_det, 0, 50))
    assert np.all(
        np.abs(back) <= 16 * EPS * (1 + slope * (1 + np.abs(expected)) + np.abs(u).max(-1))
    )
    fine = slope < 100
    assert fine.mean() > 0.8
    np.testing.assert_allclose(log_det_back[fine], -log_det[fine], atol=1e-3)


def test_log_det_of_a_codebook_telescopes_to_the_density_of_its_mixture():
    rng, width = np.random.default_rng(0), 0.5
    codebook = drawn(lambda: Codebook(6, 4, width, rngs=nnx.Rngs(0)), 0, 3.0)
    codes = np.float64(codebook.codes)
    np.testing.assert_allclose((codes**2).mean(), 1, rtol=1e-5)
    logits = np.float32(2 * rng.standard_normal((50, 6)))
    z = np.float32(codes[np.arange(50) % 6] + 0.7 * rng.standard_normal((50, 4)))
    noise, log_det = jax.jit(codebook.inverse_and_log_det)(z, logits)
    squares = ((np.float64(z)[:, None] - codes) ** 2).sum(-1) / width**2
    log_normal = -squares / 2 - 4 * np.log(width * np.sqrt(2 * np.pi))
    expected = special.logsumexp(special.log_softmax(np.float64(logits), -1) + log_normal, axis=-1)
    np.testing.assert_allclose(standard_normal_log_prob(noise) + log_det, expected, atol=2e-4)
    shares = special.softmax(-squares / 2, axis=-1)
    np.testing.assert_allclose(jax.nn.softmax(codebook.log_likelihood(z)), shares, atol=2e-5)
