"""What a configuration builds and refuses."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nlf_jax.errors import UserError
from nlf_jax.models import MODELS, ModelConfig, create_network
from nlf_jax.models.emissions import Bernoulli, Categorical

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


@pytest.mark.parametrize("model", ["af_scf", "lstm"])
def test_output_weights_are_tied_to_the_embedding_or_not(model):
    tied = create_network(replace(TINY, model=model, tied=True, hidden=3), **SIZES)
    untied = create_network(replace(TINY, model=model), **SIZES)

    def output(network):
        return network.out if model == "lstm" else network.likelihood.out

    assert output(tied).weight is None
    assert output(untied).weight.shape == (5, 3 if model == "lstm" else 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "af"}, "af_scf"),
        ({"emission": "gaussian"}, "bernoulli"),
        ({"transform": "spline"}, "nlsq"),
        ({"hidden": 0}, "hidden is 0"),
        ({"temporal_layers": 0}, "temporal_layers is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"vae_dropout": -0.1}, "vae_dropout is -0.1"),
        ({"mixtures": 0}, "mixtures is 0"),
        ({"mixtures": 2}, "piano rolls only"),
        ({"frame_units": 2}, "piano rolls only"),
        ({"frame_units": -1, "emission": "bernoulli"}, "frame_units is -1"),
        ({"products": "float16"}, "bfloat16"),
        ({"model": "iaf_scf", "latent": 1}, "latent must be >= 2"),
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
