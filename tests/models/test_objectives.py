from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nlf_jax.errors import UserError
from nlf_jax.objectives import elbo, importance_weighted_nll, training_loss
from tests.models.tiny import (
    MAX_LENGTH,
    all_rolls,
    all_texts,
    make_batch,
    make_model,
    with_wide_posterior,
)

KEY = jax.random.key(7)
CASES = [("af_scf", "categorical"), ("iaf_scf", "bernoulli"), ("lstm", "categorical")]
CASES += [("gated", "categorical"), ("af_codebook", "categorical"), ("af_codebook", "bernoulli")]
each_model = pytest.mark.parametrize(("model", "emission"), CASES)
GARBAGE = {"categorical": [-7, 999], "bernoulli": [np.nan, 1e30]}


def loss_and_gradient(model, x, lengths):
    def loss(network):
        model_ = model.replace(network=network)
        return training_loss(model_, x, lengths, KEY, num_samples=2, kl_weight=0.5)

    return jax.value_and_grad(loss, has_aux=True)(model.network)


run = jax.jit(loss_and_gradient)


@each_model
def test_loss_is_the_mean_over_real_rows(model, emission):
    model, (x, lengths) = make_model(model, emission), make_batch(emission)
    (loss, bound), _ = run(model, x, lengths)
    per_symbol = -np.asarray(bound.elbo) / (lengths + 1)
    np.testing.assert_allclose(loss, per_symbol[[0, 2]].mean(), rtol=1e-6)
    assert all(part[1] == 0 for part in bound)


@each_model
def test_padding_and_filler_rows_change_nothing(model, emission):
    model, (x, lengths) = make_model(model, emission), make_batch(emission)
    padded = np.arange(MAX_LENGTH) >= lengths[:, None]
    clean = run(model, x, lengths)
    for garbage in GARBAGE[emission]:
        dirty = x.copy()
        dirty[padded] = garbage
        jax.tree.map(np.testing.assert_array_equal, run(model, dirty, lengths), clean)


@each_model
def test_batch_of_filler_rows(model, emission):
    model, (x, lengths) = make_model(model, emission), make_batch(emission)
    (loss, _), gradient = run(model, x, 0 * lengths)
    assert loss == 0
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(gradient))


@each_model
def test_every_parameter_gets_a_gradient(model, emission):
    model, (x, lengths) = make_model(model, emission), make_batch(emission)
    _, gradient = run(model, x, lengths)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.abs(leaf).max() > 1e-7, jax.tree_util.keystr(path)


def test_bounds_from_the_terms_of_their_samples():
    model, (x, lengths) = make_model(), make_batch()
    keys = jax.random.split(KEY, len(lengths))
    terms = model.network.terms(x, lengths, keys, num_samples=5)
    bound = elbo(model, x, lengths, KEY, num_samples=5, kl_weight=0.3)
    length_log_prob = model.length_log_prob[lengths[[0, 2]]]
    log_weights = (terms.reconstruction - terms.kl)[jnp.array([0, 2])]
    expected = (terms.reconstruction - 0.3 * terms.kl).mean(1)[jnp.array([0, 2])] + length_log_prob
    np.testing.assert_allclose(bound.elbo[np.array([0, 2])], expected, rtol=1e-6)
    nll = importance_weighted_nll(model, x, lengths, KEY, num_samples=5)
    expected = -jnp.log(jnp.exp(log_weights).mean(1)) - length_log_prob
    np.testing.assert_allclose(nll[np.array([0, 2])], expected, rtol=1e-5)
    assert nll[1] == 0
    full = elbo(model, x, lengths, KEY, num_samples=5)
    assert (-nll >= full.elbo - 1e-5).all()


@pytest.mark.parametrize("model", ["af_scf", "iaf_scf", "af_only"])
def test_probabilities_of_all_texts_sum_to_one(model):
    """The importance-weighted estimate of a probability is unbiased."""
    model, (x, lengths) = with_wide_posterior(make_model(model)), all_texts(2)
    nll = jax.jit(partial(importance_weighted_nll, num_samples=10_000))
    nlls = jnp.stack([nll(model, x, lengths, key) for key in jax.random.split(KEY, 10)])
    total = jnp.exp(-nlls - model.length_log_prob[2]).sum(1)
    # One estimate has a standard deviation of 0.02 (af_only) or 0.005 (the others).
    np.testing.assert_allclose(total.mean(), 1, atol=0.03)


@pytest.mark.parametrize(
    ("model", "emission"),
    [("lstm", "categorical"), ("lstm", "bernoulli"), ("gated", "categorical")],
)
def test_probabilities_of_a_language_model_sum_to_one(model, emission):
    sequences = all_texts(2) if emission == "categorical" else all_rolls(2)
    model = make_model(model, emission)
    bound = elbo(model, *sequences, KEY)
    log_prob = bound.elbo - bound.length_log_prob
    np.testing.assert_allclose(jnp.exp(log_prob).sum(), 1, atol=1e-5)
    np.testing.assert_allclose(importance_weighted_nll(model, *sequences, KEY), -bound.elbo)


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("af_scf", "dropout"),
        ("iaf_scf", "dropout"),
        ("lstm", "dropout"),
        ("gated", "dropout"),
        ("af_codebook", "dropout"),
        ("af_nohidden", "vae_dropout"),
    ],
)
def test_dropout_is_on_in_training_only(model, kind):
    batch = make_batch()
    with_dropout, without = make_model(model, **{kind: 0.5}), make_model(model)

    def score(model, train):
        return elbo(model, *batch, KEY, train=train).elbo

    np.testing.assert_array_equal(score(with_dropout, False), score(without, False))
    np.testing.assert_array_equal(score(without, True), score(without, False))
    assert (score(with_dropout, True)[::2] != score(without, True)[::2]).all()


def test_vae_dropout_is_of_what_the_lstms_give():
    network, length = make_model().network, jnp.int32(MAX_LENGTH)
    z, none = jax.random.normal(KEY, (MAX_LENGTH, 2)), jnp.zeros((MAX_LENGTH, 6))
    features = network.likelihood.features(z, length, none)
    np.testing.assert_array_equal(features, jnp.concatenate([z, none], -1))
    posterior = network.encode(jnp.arange(MAX_LENGTH) % 3, length, dropout=none)
    bias = network.posterior.out.bias[...].reshape(2, 2)
    np.testing.assert_array_equal(posterior.mean, jnp.tile(bias[:, 0], (MAX_LENGTH, 1)))


X, LENGTHS = make_batch()


@pytest.mark.parametrize(
    ("x", "lengths", "message"),
    [
        (X[0], LENGTHS, "shape"),
        (np.zeros((3, 4, 3), np.int32), LENGTHS, "shape"),
        (X.astype(np.float32), LENGTHS, "integers"),
        (X, LENGTHS[:2], "lengths"),
        (X, LENGTHS.astype(np.float32), "lengths"),
        (X, LENGTHS[:, None], "lengths"),
        (np.zeros((3, 5), np.int32), LENGTHS, "5 steps"),
    ],
)
@pytest.mark.parametrize("objective", [elbo, importance_weighted_nll])
def test_wrong_batches(objective, x, lengths, message):
    with pytest.raises(UserError, match=message):
        objective(make_model(), x, lengths, KEY)


def test_wrong_bits():
    with pytest.raises(UserError, match="bits"):
        elbo(make_model("lstm", "bernoulli"), X, LENGTHS, KEY)
    with pytest.raises(UserError, match="outputs"):
        elbo(make_model("lstm", "bernoulli"), np.zeros((3, 4, 88)), LENGTHS, KEY)


def test_no_samples():
    with pytest.raises(UserError, match="num_samples is 0"):
        elbo(make_model(), X, LENGTHS, KEY, num_samples=0)
