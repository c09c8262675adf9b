from functools import partial

import jax
import numpy as np
import pytest

from nlf_jax.errors import UserError
from nlf_jax.latents import _blend, continue_from, interpolate, reconstruct
from nlf_jax.objectives import importance_weighted_nll
from nlf_jax.sampling import sample
from tests.models.tiny import (
    MAX_LENGTH,
    NUM_SYMBOLS,
    all_texts,
    make_batch,
    make_model,
    with_strong_ties,
    with_wide_posterior,
)

KEY = jax.random.key(5)
A, B = np.array([0, 2, 1, 1], np.int32), np.array([1, 0], np.int32)
pytestmark = pytest.mark.usefixtures("quick_compilation")
each_kind = pytest.mark.parametrize("model", ["af_scf", "iaf_scf", "lstm"])


def tied(model, emission="categorical"):
    return with_wide_posterior(with_strong_ties(make_model(model, emission)))


def probabilities(model, num_steps, num_samples):
    """p(x | T) of every text, [V, .., V]."""
    score = partial(importance_weighted_nll, num_samples=num_samples)
    nll = jax.jit(score)(model, *all_texts(num_steps), KEY)
    return np.exp(-nll - model.length_log_prob[num_steps]).reshape((NUM_SYMBOLS,) * num_steps)


@each_kind
def test_continuations_follow_the_exact_conditional(model):
    model = tied(model)
    exact = probabilities(model, 2, 50_000)
    exact /= exact.sum(1, keepdims=True)
    assert abs(exact[0] - exact[1]).max() > 0.1
    for first in (0, 1):
        drawn = continue_from(model, np.int32([first]), KEY, num_samples=2000, length=2)
        counts = np.bincount(drawn.symbols[:, 1], minlength=NUM_SYMBOLS)
        np.testing.assert_allclose(counts / 2000, exact[first], atol=0.03)


@pytest.mark.parametrize("model", ["af_scf", "iaf_scf"])
def test_weights_of_an_opening_average_to_its_probability(model):
    model, count = tied(model), 20_000
    exact = probabilities(model, 2, 50_000).sum(1)
    lengths, keys = np.full(count, 2, np.int32), jax.random.split(KEY, count)
    propose = jax.jit(model.network.continuation, static_argnums=(2, 5))
    for first in range(NUM_SYMBOLS):
        _, log_weights = propose(np.int32([first]), lengths, 2, keys, np.float32(1), False)
        np.testing.assert_allclose(np.exp(log_weights).mean(), exact[first], rtol=0.05)


def test_lengths_follow_the_opening():
    """p(T | x_1, x_2, T > 2) for T = 3 and 4; the second symbol's scores know the length."""
    model = tied("lstm")
    joint = [model.length_log_prob[3], model.length_log_prob[4]]
    joint += np.log([probabilities(model, steps, 1)[0, 1].sum() for steps in (3, 4)])
    exact = 1 / (1 + np.exp(joint[0] - joint[1]))
    prior = 1 / (1 + np.exp(model.length_log_prob[3] - model.length_log_prob[4]))
    lengths = continue_from(
        model, np.int32([0, 1]), KEY, num_samples=1000, num_proposals=16
    ).lengths
    assert abs(exact - prior) > 0.1
    np.testing.assert_allclose((lengths == 4).mean(), exact, atol=0.04)


@pytest.mark.parametrize(
    ("model", "emission"), [("af_scf", "bernoulli"), ("lstm", "bernoulli"), ("lstm", "categorical")]
)
def test_continuations_begin_with_the_opening(model, emission):
    opening = make_batch(emission)[0][0, :2]
    options = {"num_samples": 6, "num_proposals": 3}
    symbols, lengths = jax.device_get(
        continue_from(make_model(model, emission), opening, KEY, **options)
    )
    assert symbols.dtype == (np.int32 if emission == "categorical" else bool)
    assert symbols.shape[:2] == (6, MAX_LENGTH)
    assert set(lengths) == {3, 4}
    assert (symbols[:, :2] == opening).all()
    assert (symbols[np.arange(MAX_LENGTH) >= lengths[:, None]] == 0).all()


@pytest.mark.parametrize("model", ["lstm", "gated"])
def test_greedy_language_model_goes_on_as_it_would(model):
    model = tied(model)
    whole = sample(model, KEY, length=4, greedy=True).symbols
    for known in (1, 3):
        drawn = continue_from(model, whole[0, :known], KEY, length=4, greedy=True)
        np.testing.assert_array_equal(drawn.symbols, whole)


def test_continuations_inside_jit_and_vmap():
    model, keys = make_model("lstm"), jax.random.split(KEY, 2)

    def draw(key):
        return continue_from(model, B, key, length=4, temperature=0.7, num_proposals=2)

    together = jax.jit(jax.vmap(draw))(keys)
    for row, key in enumerate(keys):
        np.testing.assert_array_equal(together.symbols[row], draw(key).symbols)


def test_reconstruction_decodes_the_posterior_mean():
    model = with_strong_ties(make_model())
    x, lengths = make_batch()
    symbols = np.asarray(reconstruct(model, x, lengths, KEY).symbols)

    @jax.jit
    def best(x, length):
        return model.network.scores(model.network.encode(x, length).mean, length).argmax(-1)

    for row, length in enumerate(lengths):
        assert not symbols[row, length:].any()
        if length:
            np.testing.assert_array_equal(symbols[row, :length], best(x[row, :length], length))


def test_drawn_reconstructions_differ():
    x, lengths = make_batch("bernoulli")
    model = make_model("iaf_scf", "bernoulli")
    first, second = (
        reconstruct(model, x, lengths, jax.random.key(i), greedy=False).symbols for i in range(2)
    )
    assert first.dtype == bool
    assert (first != second).any()


def test_interpolation_ends_are_reconstructions():
    model = with_strong_ties(make_model("af_scf"))
    points = interpolate(model, A, B, KEY, num_points=5)
    assert list(points.lengths) == [4, 4, 3, 2, 2]
    padded = np.zeros((2, 4), np.int32)
    padded[0], padded[1, :2] = A, B
    ends = reconstruct(model, padded, np.int32([4, 2]), KEY).symbols
    np.testing.assert_array_equal(points.symbols[np.array([0, -1])], ends)


def test_blended_noise_stays_standard_normal():
    noise = jax.random.normal(KEY, (2, 3, 20_000))
    for share in (0.0, 0.3, 0.5):
        blended = _blend(noise, np.int32([3, 2]), np.array([1 - share, share], np.float32))
        np.testing.assert_allclose(blended.std(-1), 1.0, atol=0.02)
    np.testing.assert_array_equal(blended[2], noise[0, 2])


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (continue_from, {"opening": np.zeros(0, np.int32)}, "empty"),
        (continue_from, {"opening": np.float32([1])}, "must be integers"),
        (continue_from, {"opening": A}, "nothing is left"),
        (continue_from, {"opening": B, "length": 2}, "nothing is left"),
        (continue_from, {"opening": B, "length": 9}, "1 to 4"),
        (continue_from, {"opening": B, "num_proposals": 0}, "num_proposals is 0"),
        (continue_from, {"opening": B, "temperature": 0.0}, "temperature is 0"),
        (interpolate, {"a": A, "b": B, "num_points": 1}, "num_points is 1"),
        (interpolate, {"a": A, "b": B[:0]}, "empty"),
        (reconstruct, {"x": A, "lengths": np.int32([4])}, "ids"),
    ],
)
def test_wrong_arguments(function, arguments, message):
    with pytest.raises(UserError, match=message):
        function(make_model(), key=KEY, **arguments)


def test_the_baseline_has_no_latent():
    with pytest.raises(UserError, match="no latent"):
        reconstruct(make_model("lstm"), *make_batch(), KEY)
    with pytest.raises(UserError, match="no latent"):
        interpolate(make_model("lstm"), A, B, KEY)
