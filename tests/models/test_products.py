"""What bfloat16 products do to scores and gradients."""

import jax
import numpy as np
import pytest

from nlf_jax.bijectors.recurrent import SequenceContext
from nlf_jax.objectives import elbo, importance_weighted_nll, training_loss
from tests.models.tiny import MAX_LENGTH, make_batch, make_model

KEY = jax.random.key(3)
KINDS = [("iaf_scf", "bernoulli", 2), ("lstm", "categorical", 1)]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=["iaf-mixtures", "lstm"])


def both(kind):
    """The same parameters with float32 and with bfloat16 products."""
    model, emission, mixtures = kind
    make = lambda products: make_model(model, emission, 0.0, mixtures, products=products)  # noqa: E731
    return make("float32"), make("bfloat16"), *make_batch(emission)


@each_kind
def test_scores_move_by_less_than_a_hundredth_of_a_nat_per_symbol(kind):
    exact, rounded, x, lengths = both(kind)

    @jax.jit
    def scores(model):
        nll = importance_weighted_nll(model, x, lengths, KEY, num_samples=3)
        return elbo(model, x, lengths, KEY).elbo, nll

    for ours, expected in zip(scores(rounded), scores(exact), strict=True):
        moved = np.abs(ours - expected) / (lengths + 1)
        assert 1e-6 < moved.max() < 0.01


@each_kind
def test_gradients_point_the_same_way(kind):
    exact, rounded, x, lengths = both(kind)

    @jax.jit
    def gradient(network, model):
        loss = lambda network: training_loss(  # noqa: E731
            model.replace(network=network), x, lengths, KEY, num_samples=2, kl_weight=0.5
        )[0]
        return jax.flatten_util.ravel_pytree(jax.grad(loss)(network))[0]

    ours, expected = (gradient(model.network, model) for model in (rounded, exact))
    cosine = ours @ expected / (np.linalg.norm(ours) * np.linalg.norm(expected))
    assert 0.99 < cosine < 1 - 1e-7


@pytest.mark.parametrize("model", ["af_scf", "iaf_af", "af_codebook"])
def test_both_directions_of_a_prior_stay_float32(model):
    exact, rounded, _, lengths = both((model, "categorical", 1))
    noise = jax.random.normal(KEY, (MAX_LENGTH, len(lengths), 2))
    there = jax.jit(lambda prior: prior.forward_and_log_det(noise, SequenceContext(lengths)))
    back = jax.jit(lambda prior: prior.inverse_and_log_det(noise, SequenceContext(lengths)))
    for function in (there, back):
        results = (function(each.network.prior) for each in (exact, rounded))
        jax.tree.map(np.testing.assert_array_equal, *results)
