"""The codebook flow beside the language model inside it, and its bound the long way."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import nlf_jax
from nlf_jax.bijectors.base import standard_normal_log_prob
from nlf_jax.bijectors.recurrent import SequenceContext
from nlf_jax.nn.position import step_mask
from nlf_jax.objectives import elbo, importance_weighted_nll
from tests.models.tiny import (
    MAX_LENGTH,
    NUM_SYMBOLS,
    all_rolls,
    all_texts,
    make_batch,
    make_model,
)

KEY = jax.random.key(11)
FRAMES = {"mixtures": 2, "frame_units": 5}
pytestmark = pytest.mark.usefixtures("quick_compilation")
each_emission = pytest.mark.parametrize("emission", ["categorical", "bernoulli"])
each_recurrence = pytest.mark.parametrize("recurrence", ["lstm", "gated"])


def codebook(emission="categorical", **changes):
    frames = FRAMES if emission == "bernoulli" else {}
    return make_model("af_codebook", emission, **{"code_width": 0.05} | frames | changes)


def language_model(model):
    return model.replace(network=model.network.language_model)


@each_emission
@each_recurrence
def test_with_codes_apart_it_is_the_language_model(emission, recurrence):
    model, (x, lengths) = codebook(emission, recurrence=recurrence), make_batch(emission)
    nll = jax.jit(partial(importance_weighted_nll, num_samples=3))
    ours, its = nll(model, x, lengths, KEY), nll(language_model(model), x, lengths, KEY)
    np.testing.assert_allclose(ours, its, rtol=1e-5)
    assert (np.asarray(its)[[0, 2]] > 1).all()


@each_emission
def test_gradients_are_those_of_the_values(emission):
    """Of each term, and with a weight on the KL term."""
    model, (x, lengths) = codebook(emission, code_width=0.7), make_batch(emission)
    start, unravel = jax.flatten_util.ravel_pytree(model.network)
    direction = jax.random.normal(KEY, start.shape) / start.size**0.5

    @jax.jit
    def terms(step):
        network = unravel(start + step * direction)
        bound = elbo(model.replace(network=network), x, lengths, KEY, kl_weight=0.3)
        return jnp.stack([bound.elbo.sum(), bound.reconstruction.sum(), bound.kl.sum()])

    slopes = jax.jit(jax.jacfwd(terms))(0.0)
    differences = (terms(1e-2) - terms(-1e-2)) / 2e-2
    assert (np.abs(slopes) > 1e-2).all()
    np.testing.assert_allclose(slopes, differences, rtol=2e-2, atol=2e-3)


@jax.jit
def long_and_short_way(network, x, lengths):
    """The bound of every step by the flow, and as the cross-entropy."""
    posterior = network.encode(x, lengths)
    noise = jax.random.normal(KEY, posterior.mean.shape)
    z, context = posterior.sample(noise), SequenceContext(lengths)
    back, log_det = network.prior.inverse_and_log_det(z, context)
    log_prior = standard_normal_log_prob(back) + log_det
    x = network.emission.hide(x, step_mask(lengths, len(x)))
    reconstruction = network.emission.log_prob(network.scores(z, lengths), x)
    conditionals = network.prior.conditionals(z, network.prior.contexts(z, context))
    short = network.emission.log_prob(conditionals, x)
    return reconstruction + log_prior - posterior.log_prob_at(noise), short


@pytest.mark.parametrize(
    ("emission", "reading"),
    [
        ("categorical", "denoised"),
        ("categorical", "raw"),
        ("categorical", "mix"),
        ("bernoulli", "denoised"),
        ("bernoulli", "raw"),
        ("bernoulli", "mix"),
    ],
)
def test_bound_is_the_elbo_computed_through_the_flow(emission, reading):
    model = codebook(emission, code_reading=reading, code_width=0.7)
    x, lengths = make_batch(emission)
    long, short = long_and_short_way(model.network, jnp.swapaxes(x, 0, 1), lengths)
    mask = np.asarray(step_mask(lengths, MAX_LENGTH))
    np.testing.assert_allclose(np.asarray(short)[mask], np.asarray(long)[mask], atol=2e-4)


@each_emission
def test_bound_is_what_the_objective_has(emission):
    model, (x, lengths) = codebook(emission, code_width=0.7), make_batch(emission)
    bound = jax.jit(elbo)(model, x, lengths, KEY)
    total = bound.reconstruction - bound.kl + bound.length_log_prob
    np.testing.assert_allclose(bound.elbo, total, rtol=1e-6)
    assert (np.asarray(bound.kl)[[0, 2]] > 0).all()
    nll = jax.jit(partial(importance_weighted_nll, num_samples=64))(model, x, lengths, KEY)
    assert (np.asarray(nll)[[0, 2]] < -np.asarray(bound.elbo)[[0, 2]] + 0.5).all()


@pytest.mark.parametrize("reading", ["denoised", "mix"])
def test_probabilities_of_all_texts_add_up_and_samples_follow_them(reading):
    model = codebook(code_reading=reading, code_width=0.6)
    x, lengths = all_texts(2)
    score = jax.jit(partial(importance_weighted_nll, num_samples=4000))
    p = np.exp(-np.asarray(score(model, x, lengths, KEY)) - model.length_log_prob[2])
    np.testing.assert_allclose(p.sum(), 1, atol=0.02)
    symbols = np.asarray(nlf_jax.sample(model, KEY, num_samples=20_000, length=2).symbols)
    counts = np.bincount(symbols @ [NUM_SYMBOLS, 1], minlength=len(p)) / 20_000
    np.testing.assert_allclose(counts, p, atol=0.02)


@each_emission
def test_low_temperature_is_nearly_the_mode(emission):
    model = codebook(emission)
    cold = nlf_jax.sample(model, KEY, num_samples=40, length=3, temperature=1e-3).symbols
    assert len(np.unique(np.asarray(cold).reshape(40, -1), axis=0)) <= 2
    warm = nlf_jax.sample(model, KEY, num_samples=40, length=3).symbols
    assert len(np.unique(np.asarray(warm).reshape(40, -1), axis=0)) > 5


@pytest.mark.parametrize(
    ("emission", "recurrence"), [("categorical", "gated"), ("bernoulli", "lstm")]
)
def test_sequences_come_back_from_their_latents_and_their_noise(emission, recurrence):
    model, (x, lengths) = codebook(emission, recurrence=recurrence), make_batch(emission)
    rebuilt = nlf_jax.reconstruct(model, x, lengths, KEY, greedy=False)
    mask = np.arange(MAX_LENGTH) < lengths[:, None]
    np.testing.assert_array_equal(np.asarray(rebuilt.symbols)[mask], x[mask])
    a, b = x[0], x[2][:2]
    points = nlf_jax.interpolate(model, a, b, KEY, num_points=3)
    np.testing.assert_array_equal(points.symbols[0], a)
    np.testing.assert_array_equal(points.symbols[2][:2], b)


@each_emission
def test_continuations_keep_the_opening_at_any_temperature(emission):
    model, (x, _) = codebook(emission), make_batch(emission)
    for temperature in (0.3, 1.0, 3.0):
        drawn = nlf_jax.continue_from(
            model, x[0][:2], KEY, num_samples=3, length=4, temperature=temperature, num_proposals=2
        )
        for row in np.asarray(drawn.symbols):
            np.testing.assert_array_equal(row[:2], x[0][:2])


def test_continuations_follow_the_language_model():
    model = codebook()
    symbols = [
        np.asarray(
            nlf_jax.continue_from(
                each, np.int32([1]), KEY, num_samples=4000, length=2, num_proposals=1
            ).symbols
        )
        for each in (model, language_model(model))
    ]
    ours, its = (np.bincount(s[:, 1], minlength=NUM_SYMBOLS) / 4000 for s in symbols)
    np.testing.assert_allclose(ours, its, atol=0.03)


def test_probabilities_of_all_rolls_add_up_and_samples_follow_them():
    """A temperature of 1 is the model's; keys depend on each other and on the other step."""
    model = codebook("bernoulli", code_reading="mix", code_width=0.6)
    x, lengths = all_rolls(2)
    score = jax.jit(partial(importance_weighted_nll, num_samples=500))
    p = np.exp(-np.asarray(score(model, x, lengths, KEY)) - model.length_log_prob[2])
    np.testing.assert_allclose(p.sum(), 1, atol=0.02)
    symbols = nlf_jax.sample(model, KEY, num_samples=20_000, length=2, temperature=1.0).symbols
    counts = np.bincount(np.asarray(symbols).reshape(-1, 6) @ 2 ** np.arange(5, -1, -1)) / 20_000
    # Of a probability of 0.1, 0.002 each for the samples and the weights.
    np.testing.assert_allclose(counts, p, atol=0.01)


@each_emission
@pytest.mark.parametrize("temperature", [0.25, 4.0])
def test_temperature_divides_the_logits_as_in_the_language_model(emission, temperature):
    model = codebook(emission)

    def frequencies(model):
        options = {"num_samples": 8000, "length": 1, "temperature": temperature}
        symbols = np.asarray(nlf_jax.sample(model, KEY, **options).symbols)[:, 0]
        if emission == "bernoulli":
            symbols = symbols @ 2 ** np.arange(NUM_SYMBOLS)
        return np.bincount(symbols, minlength=8) / 8000

    # Each has a standard deviation of at most 0.0056.
    expected = frequencies(language_model(model))
    np.testing.assert_allclose(frequencies(model), expected, atol=0.025)


def test_a_factorised_posterior_of_frames_reads_one_frame():
    network = make_model("iaf_scf", "bernoulli", posterior="factorised").network
    x, length = make_batch("bernoulli")[0][0], jnp.int32(MAX_LENGTH)
    of_x, of_other = (network.encode(jnp.asarray(frames), length) for frames in (x, 1 - x))
    mixed = network.encode(jnp.asarray(np.concatenate([x[:2], 1 - x[2:]])), length)
    for ours, left, right in zip(mixed, of_x, of_other, strict=True):
        np.testing.assert_array_equal(ours, np.concatenate([left[:2], right[2:]]))
    assert (of_x.mean != of_other.mean).all()
    read = jax.jacfwd(lambda z: network.scores(z, length))(of_x.mean)
    apart = ~np.eye(MAX_LENGTH, dtype=bool)
    assert (np.abs(read).sum((1, 3))[apart] == 0).all()


def test_a_factorised_posterior_reads_one_symbol_and_is_decoded_by_bayes_rule():
    model = make_model("af_scf", posterior="factorised")
    network, length = model.network, jnp.int32(3)
    a, b = (network.encode(jnp.array(x), length) for x in ([0, 1, 2], [2, 1, 0]))
    np.testing.assert_array_equal(a.mean[1], b.mean[1])
    assert (a.mean[0] != b.mean[0]).any()
    codes, z = network.encode(jnp.arange(3), length), jnp.array([[0.3, -0.2]] * 3)
    density = jax.scipy.stats.norm.logpdf(z, codes.mean, jnp.exp(0.5 * codes.log_variance))
    expected = jax.nn.log_softmax(network.likelihood.log_weights[...] + density.sum(-1))
    scores = jax.nn.log_softmax(network.scores(z[:1], jnp.int32(1)))[0]
    np.testing.assert_allclose(scores, expected, atol=1e-5)


@each_emission
def test_a_factorised_posterior_scores_and_draws(emission):
    model, (x, lengths) = (
        make_model("iaf_scf", emission, posterior="factorised"),
        make_batch(emission),
    )
    assert np.isfinite(np.asarray(jax.jit(elbo)(model, x, lengths, KEY).elbo)).all()
    assert nlf_jax.sample(model, KEY, num_samples=2, length=4).symbols.shape[:2] == (2, 4)


@each_emission
def test_codes_drawn_with_their_symbols_are_the_flow_s_of_standard_normal_noise(emission):
    prior = codebook(emission, code_width=0.6).network.prior
    summaries = jax.random.normal(KEY, (4000, 3)) * 0 + jnp.array([0.3, -1.0, 0.8])
    context = prior.flow_context(summaries, jnp.float32(0.7))
    noise = jax.random.normal(
        jax.random.key(1), (4000, prior.encode(make_batch(emission)[0]).mean.shape[-1])
    )
    _, z = jax.jit(prior.draw)(context, jax.random.split(KEY, 4000), noise)
    back, _ = jax.jit(prior.flow.inverse_and_log_det)(z, context)
    for noise_d in np.asarray(back).T:
        assert scipy.stats.kstest(noise_d, "norm").pvalue > 1e-3
    np.testing.assert_allclose(np.cov(back.T), np.eye(back.shape[1]), atol=0.08)
