from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nlf_jax.data.text.vocabulary import Vocabulary
from nlf_jax.errors import UserError
from nlf_jax.objectives import importance_weighted_nll
from nlf_jax.sampling import sample
from tests.models.tiny import (
    MAX_LENGTH,
    NUM_SYMBOLS,
    all_texts,
    make_model,
    with_wide_posterior,
)

KEY = jax.random.key(3)
each_kind = pytest.mark.parametrize("model", ["af_af", "iaf_scf", "lstm", "af_codebook"])


@each_kind
@pytest.mark.parametrize("emission", ["categorical", "bernoulli"])
def test_shapes_and_padding(model, emission):
    samples = sample(make_model(model, emission), KEY, num_samples=50)
    bits = emission == "bernoulli"
    assert samples.symbols.shape == (50, MAX_LENGTH) + (NUM_SYMBOLS,) * bits
    assert samples.symbols.dtype == (bool if bits else jnp.int32)
    assert samples.lengths.dtype == jnp.int32
    padded = np.arange(MAX_LENGTH) >= np.asarray(samples.lengths)[:, None]
    assert padded.any()
    assert (np.asarray(samples.symbols)[padded] == 0).all()
    assert len(np.unique(samples.symbols)) > 1


def test_lengths_follow_the_length_prior():
    model = make_model()
    lengths = sample(model, KEY, num_samples=4000).lengths
    frequencies = np.bincount(lengths, minlength=MAX_LENGTH + 1) / 4000
    np.testing.assert_allclose(frequencies, np.exp(model.length_log_prob), atol=0.03)


@pytest.mark.parametrize("model", ["af_scf", "iaf_scf", "lstm"])
def test_frequencies_are_the_probabilities_of_the_objective(model):
    model, (x, lengths) = with_wide_posterior(make_model(model)), all_texts(2)
    score = partial(importance_weighted_nll, num_samples=10_000)
    probabilities = np.exp(-jax.jit(score)(model, x, lengths, KEY) - model.length_log_prob[2])
    symbols = np.asarray(sample(model, KEY, num_samples=20_000, length=2).symbols)
    counts = np.bincount(symbols @ [NUM_SYMBOLS, 1], minlength=len(x))
    np.testing.assert_allclose(counts / 20_000, probabilities, atol=0.015)


@each_kind
def test_inside_jit_and_vmap(model):
    model, keys = make_model(model), jax.random.split(KEY, 3)

    def draw(key):
        return sample(model, key, num_samples=2, temperature=0.7)

    together = jax.jit(jax.vmap(draw))(keys)
    for row, key in enumerate(keys):
        alone = draw(key)
        np.testing.assert_array_equal(together.symbols[row], alone.symbols)
        np.testing.assert_array_equal(together.lengths[row], alone.lengths)


@pytest.mark.parametrize("model", ["lstm", "gated"])
def test_greedy_language_model_needs_no_key_and_is_the_limit_of_low_temperature(model):
    model = make_model(model)
    greedy = [sample(model, jax.random.key(i), length=4, greedy=True).symbols for i in range(2)]
    cold = sample(model, KEY, length=4, temperature=1e-4, num_samples=5).symbols
    np.testing.assert_array_equal(greedy[0], greedy[1])
    np.testing.assert_array_equal(cold, np.repeat(greedy[0], 5, axis=0))


@pytest.mark.parametrize("model", ["af_scf", "iaf_scf"])
def test_cold_flow_says_one_thing(model):
    """At temperature zero the noise is zero, and only the most probable symbols are left."""
    cold = sample(make_model(model), KEY, length=4, temperature=1e-4, num_samples=20).symbols
    warm = sample(make_model(model), KEY, length=4, num_samples=20).symbols
    assert (cold == cold[0]).all()
    assert not (warm == warm[0]).all()


def test_samples_decode():
    vocabulary = Vocabulary(("a",))
    model = make_model().replace(vocabulary=vocabulary)
    samples = sample(model, KEY, num_samples=5)
    texts = model.vocabulary.decode(samples.symbols, samples.lengths)
    assert [len(text) for text in texts] == list(samples.lengths)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_samples": 0}, "num_samples is 0"),
        ({"length": 0}, "length is 0"),
        ({"length": MAX_LENGTH + 1}, "1 to 4"),
        ({"temperature": 0.0}, "temperature is 0"),
        ({"temperature": -1.0}, "temperature is -1"),
        ({"temperature": float("nan")}, "temperature is nan"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(UserError, match=message):
        sample(make_model(), KEY, **arguments)
