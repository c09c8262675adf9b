"""Densities of the priors in two dimensions: they integrate to one and fit their samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from nlf_jax.bijectors.base import standard_normal_log_prob
from nlf_jax.bijectors.codebook import Codebook
from nlf_jax.bijectors.recurrent import SequenceContext
from nlf_jax.models import ModelConfig
from nlf_jax.models.priors import create_prior
from tests.bijectors.table import drawn

# Two steps of one dimension; coupling needs two dimensions and gets one step.
SHAPES = {"af_af": (2, 1), "iaf_af": (2, 1), "af_nohidden": (2, 1), "af_only": (2, 1)}
SHAPES |= {"af_scf": (1, 2), "iaf_scf": (1, 2)}
NUM_SAMPLES = 100_000


def make_prior(model):
    steps, size = SHAPES[model]
    config = ModelConfig(
        model=model, hidden=3, latent=size, flow_layers=2, flow_hidden=4, lstm_layers=1
    )
    return drawn(lambda: create_prior(config, steps, nnx.Rngs(0)), seed=1, scale=0.7)


def grid():
    """Points [N, 2] and the area that each stands for, denser near zero."""
    u = np.linspace(-6, 6, 301)
    z, width = np.sinh(u), np.cosh(u) * (u[1] - u[0])
    points = np.stack(np.meshgrid(z, z), -1).reshape(-1, 2)
    return points.astype(np.float32), np.outer(width, width).ravel()


def features(z):
    """Some bounded functions of a point, [.., 3]."""
    first, second = z[..., 0], z[..., 1]
    return np.stack([np.tanh(first), np.tanh(second), np.cos(first - second)], -1)


@pytest.mark.parametrize("model", SHAPES)
def test_density_is_normalised_and_fits_the_samples(model):
    shape = SHAPES[model]
    check(make_prior(model), shape, SequenceContext(jnp.int32(shape[0])))


def test_density_of_a_codebook():
    """Three codes a few widths apart, one of which is rare."""
    codebook = drawn(lambda: Codebook(3, 2, 0.5, rngs=nnx.Rngs(0)), seed=1, scale=1.0)
    check(codebook, (2,), jnp.array([0.0, 1.0, -3.0]))


def check(flow, shape, context):
    """That the density integrates to one and fits the samples."""

    @jax.jit
    @jax.vmap
    def density(z):
        noise, log_det = flow.inverse_and_log_det(z.reshape(shape), context)
        return jnp.exp((standard_normal_log_prob(noise) + log_det).sum())

    @jax.jit
    @jax.vmap
    def generate(noise):
        return flow.forward_and_log_det(noise, context)[0].reshape(2)

    points, area = grid()
    mass = np.asarray(density(points), np.float64) * area
    np.testing.assert_allclose(mass.sum(), 1, atol=2e-3)
    noise = jax.random.normal(jax.random.key(2), (NUM_SAMPLES, *shape))
    values = features(np.asarray(generate(noise), np.float64))
    deviation = values.mean(0) - mass @ features(points)
    assert (np.abs(deviation) < 5 * values.std(0) / NUM_SAMPLES**0.5 + 2e-3).all()
