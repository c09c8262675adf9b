"""What a configuration builds and refuses."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from nlf_jax.errors import UserError
from nlf_jax.models import MODELS, ModelConfig, create_network
from nlf_jax.models.emissions import Bernoulli, Categorical
from nlf_jax.nn.gated import GatedStack
from nlf_jax.nn.lstm import LSTM, BiLSTM

TINY = ModelConfig(embedding=3, hidden=4, latent=2, flow_layers=2, flow_hidden=3, tied=False)
SIZES = {"num_symbols": 5, "max_length": 6, "key": jax.random.key(0)}


@pytest.mark.parametrize("model", MODELS)
def test_every_leaf_is_a_float32_parameter_drawn_from_the_key(model):
    config = replace(TINY, model=model)
    leaves = jax.tree.leaves(create_network(config, **SIZES))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}
    again = jax.tree.leaves(create_network(config, **SIZES))
    other = jax.tree.leaves(create_network(config, **SIZES | {"key": jax.random.key(1)}))
    assert all((a == b).all() for a, b in zip(leaves, again, strict=True))
    assert not all((a == b).all() for a, b in zip(leaves, other, strict=True))


@pytest.mark.parametrize("model", ["af_scf", "lstm", "gated", "af_codebook"])
def test_output_weights_are_tied_to_the_embedding_or_not(model):
    tied = make(model, tied=True, hidden=3)
    untied = make(model)

    def output(network):
        network = getattr(network, "language_model", network)
        return getattr(network, "likelihood", network).out

    # A language model's are of the embedding's size in any case.
    width = 4 if model == "af_scf" else 3
    assert output(tied).weight is None
    assert output(untied).weight.shape == (5, width)


def make(model, **changes):
    """Only the shapes."""
    return jax.eval_shape(partial(create_network, replace(TINY, model=model, **changes), **SIZES))


@pytest.mark.parametrize("model", ["af_scf", "iaf_af", "af_codebook", "gated"])
def test_no_lstm_is_left_with_the_gated_recurrence(model):
    recurrence = "lstm" if model == "gated" else "gated"
    network = make(model, recurrence=recurrence)
    assert network.config.recurrence == "gated"
    modules = [type(module) for _, module in nnx.iter_modules(network)]
    assert GatedStack in modules
    assert not {LSTM, BiLSTM} & set(modules)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "af"}, "af_scf"),
        ({"emission": "gaussian"}, "bernoulli"),
        ({"transform": "spline"}, "nlsq"),
        ({"hidden": 4.5}, "hidden must be a whole number, got 4.5"),
        ({"hidden": True}, "hidden must be a whole number, got True"),
        ({"hidden": 0}, "hidden must be at least 1 .*got 0"),
        ({"temporal_layers": 0}, "temporal_layers must be .*got 0"),
        ({"dropout": 1.0}, "dropout must be .*got 1.0"),
        ({"vae_dropout": -0.1}, "vae_dropout must be .*got -0.1"),
        ({"mixtures": 0}, "mixtures must be .*got 0"),
        ({"mixtures": 2}, "piano rolls only"),
        ({"frame_units": 2}, "piano rolls only"),
        ({"frame_units": -1, "emission": "bernoulli"}, "frame_units must be .*got -1"),
        ({"products": "float16"}, "bfloat16"),
        ({"model": "iaf_scf", "latent": 1}, "latent must be at least 2"),
        ({"recurrence": "gru"}, "lstm, gated"),
        (
            {"model": "lstm", "recurrence": "gated"},
            "recurrence gated is not that of",
        ),
        ({"posterior": "mean"}, "factorised"),
        ({"code_reading": "none"}, "denoised, raw, mix"),
        ({"code_width": 0.0}, "code_width must be .*got 0.0"),
        ({"code_width": float("nan")}, "code_width must be .*got nan"),
        ({"mixture_components": 0}, "mixture_components must be .*got 0"),
        (
            {"model": "af_codebook", "emission": "bernoulli"},
            "frame_units must be at least 1 for",
        ),
    ],
)
def test_wrong_configurations(changes, message):
    with pytest.raises(UserError, match=message):
        replace(TINY, **changes)


def test_categorical_emission():
    scores = jnp.array([0.0, 1.0, -2.0])
    log_prob = Categorical.log_prob(jnp.tile(scores, (3, 1)), jnp.arange(3))
    np.testing.assert_allclose(jnp.exp(log_prob), jax.nn.softmax(scores), rtol=1e-6)
    assert Categorical.mode(scores) == 1


def test_bernoulli_emission():
    scores = jnp.array([-30.0, 0.5, 200.0])
    bits = jnp.array([False, True, True])
    expected = np.log(1 / (1 + np.exp(-0.5)))
    np.testing.assert_allclose(Bernoulli.log_prob(scores, bits), expected, rtol=1e-6)
    np.testing.assert_allclose(Bernoulli.log_prob(scores, ~bits), -200 - 30 - 0.5 + expected)
    np.testing.assert_array_equal(Bernoulli.mode(scores), bits)
