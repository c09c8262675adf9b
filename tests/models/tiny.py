"""Models small enough to enumerate what they say."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from nlf_jax.models import LanguageModel, ModelConfig, SequenceModel, create_network
from tests.bijectors.table import drawn

NUM_SYMBOLS, MAX_LENGTH = 3, 4
LENGTH_LOG_PROB = np.array([-np.inf, *np.log([0.1, 0.4, 0.2, 0.3])], np.float32)


@functools.cache
def make_model(
    model="af_scf", emission="categorical", dropout=0.0, mixtures=1, **changes
) -> SequenceModel:
    """A model with parameters drawn from N(0, 0.5^2); ``changes`` to its config."""
    if model == "af_codebook" and emission == "bernoulli":
        mixtures, changes = max(mixtures, 2), {"frame_units": 5} | changes
    config = ModelConfig(
        model=model,
        emission=emission,
        embedding=3,
        hidden=3,
        latent=2,
        flow_layers=2,
        flow_hidden=4,
        lstm_layers=1,
        dropout=dropout,
        mixtures=mixtures,
        **changes,
    )
    sizes = {"num_symbols": NUM_SYMBOLS, "max_length": MAX_LENGTH, "key": jax.random.key(0)}
    network = drawn(lambda: create_network(config, **sizes), seed=0, scale=0.5)
    return SequenceModel(network, jnp.asarray(LENGTH_LOG_PROB))


def make_batch(emission="categorical"):
    """Three rows; the second one is filler."""
    lengths, shape = np.array([4, 0, 2], np.int32), (3, MAX_LENGTH)
    rng = np.random.default_rng(0)
    if emission == "categorical":
        return rng.integers(NUM_SYMBOLS, size=shape, dtype=np.int32), lengths
    return rng.integers(2, size=(*shape, NUM_SYMBOLS)).astype(np.float32), lengths


def all_texts(num_steps):
    """Every sequence of that many symbols, int32 [V ** T, T], and their lengths."""
    x = np.indices((NUM_SYMBOLS,) * num_steps).reshape(num_steps, -1).T.astype(np.int32)
    return x, np.full(len(x), num_steps, np.int32)


def all_rolls(num_steps):
    """Every sequence of bit vectors, float32 [2 ** (T V), T, V], and their lengths."""
    bits = np.indices((2,) * (num_steps * NUM_SYMBOLS)).reshape(num_steps * NUM_SYMBOLS, -1)
    x = bits.T.reshape(-1, num_steps, NUM_SYMBOLS).astype(np.float32)
    return x, np.full(len(x), num_steps, np.int32)


def with_wide_posterior(model):
    """q(z | x) = N(0, 4 I), wider than the prior, so that importance weights are bounded.

    The LSTM has no posterior and stays as it is.
    """
    if isinstance(model.network, LanguageModel):
        return model
    network = jax.tree.map(lambda leaf: leaf, model.network)
    out = network.posterior.out
    out.weight[...] = jnp.zeros(out.weight.shape)
    out.bias[...] = jnp.tile(jnp.array([0.0, np.log(4.0)]), out.bias.shape[0] // 2)
    return model.replace(network=network)


def with_strong_ties(model, factor=2.0):
    """The model with a decoder that lets its symbols depend strongly on each other."""
    network = jax.tree.map(lambda leaf: leaf, model.network)
    network.embedding[...] = factor * jnp.eye(NUM_SYMBOLS)
    out = getattr(network, "likelihood", network).out
    out.first.weight[...] *= factor
    for bias in (out.first.bias, out.bias):
        bias[...] = jnp.zeros(bias.shape)
    return model.replace(network=network)
