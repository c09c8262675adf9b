"""Scores of sequences: their parts add up, and no sequence depends on the others."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nlf_jax import scoring
from nlf_jax.data.text.vocabulary import Vocabulary
from nlf_jax.errors import UserError
from nlf_jax.objectives import importance_weighted_nll
from nlf_jax.scoring import score, total
from tests.models.tiny import LENGTH_LOG_PROB, NUM_SYMBOLS, make_model

pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(4)
SEQUENCES = [[0, 2, 1], [1], [2, 2, 0, 1]]


def padded(sequences):
    x = [sequence + [0] * (4 - len(sequence)) for sequence in sequences]
    return np.array(x), np.array(list(map(len, sequences)))


@pytest.mark.parametrize("model", ["lstm", "gated"])
def test_steps_of_a_language_model_add_up_to_its_score(model):
    model = make_model(model)
    scores, nll = score(model, SEQUENCES), importance_weighted_nll(model, *padded(SEQUENCES), KEY)
    for each, sequence, wanted in zip(scores, SEQUENCES, nll, strict=True):
        assert each.exact
        assert each.by_step.shape == (len(sequence),)
        assert each.length_nats == pytest.approx(-LENGTH_LOG_PROB[len(sequence)])
        assert each.nats == pytest.approx(float(wanted), rel=1e-5)
        assert each.by_step.sum() == pytest.approx(each.nats - each.length_nats, rel=1e-6)
        assert each.nats_per_symbol == pytest.approx(each.nats / (len(sequence) + 1))
        assert each.bits_per_symbol == pytest.approx(each.nats_per_symbol / np.log(2))


def test_steps_of_a_language_model_are_differences_of_prefixes():
    """log p(x_1..k | T) is the sum over all ways to go on."""
    every = [list(ids) for ids in itertools.product(range(NUM_SYMBOLS), repeat=3)]
    scores = score(make_model("lstm"), every, batch_size=4)
    tree = -np.array([each.nats_given_length for each in scores]).reshape(3, 3, 3)
    after_two = np.logaddexp.reduce(tree, axis=2)
    after_one = np.logaddexp.reduce(after_two, axis=1)
    assert np.logaddexp.reduce(after_one) == pytest.approx(0, abs=1e-5)
    for (a, b, c), found in zip(every, scores, strict=True):
        prefixes = [0.0, after_one[a], after_two[a, b], tree[a, b, c]]
        np.testing.assert_allclose(found.by_step, -np.diff(prefixes), rtol=1e-4)


def test_a_codebook_flow_with_codes_apart_is_scored_by_its_language_model():
    model = make_model("af_codebook", code_width=0.02)
    scores = score(model, SEQUENCES)
    nll = importance_weighted_nll(model, *padded(SEQUENCES), KEY, num_samples=2)
    assert all(each.exact and each.kl is None for each in scores)
    np.testing.assert_allclose([each.nats for each in scores], nll, rtol=1e-4)


@pytest.mark.parametrize("emission", ["categorical", "bernoulli"])
def test_other_codebook_flows_have_a_bound(emission):
    exact = lambda **changes: scoring.is_exact(  # noqa: E731
        make_model("af_codebook", emission, **{"code_width": 0.02} | changes).network
    )
    assert exact()
    assert not exact(code_width=2.0)
    assert not exact(code_reading="raw")
    assert not scoring.is_exact(make_model("af_scf").network)


def test_a_latent_flow_gives_terms_that_add_up_to_its_bound():
    model = make_model("af_scf")
    for one in score(model, SEQUENCES, KEY, num_samples=1):
        assert not one.exact
        assert one.by_step is None
        # The bound of a single draw is its importance weight.
        assert one.cost_by_step.sum() == pytest.approx(one.nats_given_length, rel=1e-5)
        assert len(one.reconstruction) == len(one.kl) == one.steps
    weighted = score(model, SEQUENCES, KEY, num_samples=3)
    for several in weighted:
        assert several.cost_by_step.sum() > several.nats_given_length
    keys = jax.vmap(partial(jax.random.fold_in, KEY))(np.arange(3))
    nll = importance_weighted_nll(model, *padded(SEQUENCES), keys, num_samples=3)
    np.testing.assert_allclose(
        [each.nats for each in score(model, SEQUENCES, KEY, num_samples=3)], nll, rtol=1e-5
    )


def test_no_score_depends_on_the_other_sequences():
    model = make_model("af_scf")
    first = score(model, SEQUENCES, KEY, num_samples=3)[0]
    among_others = score(model, [SEQUENCES[0], [2], [1, 1, 1]], KEY, num_samples=3)[0]
    np.testing.assert_allclose(among_others.kl, first.kl, rtol=1e-5)
    other_place = score(model, SEQUENCES[::-1], KEY, num_samples=3)[2]
    assert not np.allclose(other_place.kl, first.kl)


def test_padded_lengths_are_few_and_compile_once():
    assert scoring._buckets(300) == (32, 64, 128, 256, 300)
    assert scoring._buckets(32) == (32,)
    assert scoring._buckets(4) == (4,)
    model = make_model("lstm")
    score(model, SEQUENCES)
    size = scoring._costs._cache_size()
    score(model, [[1, 1, 1], [2], [0, 0]])
    assert scoring._costs._cache_size() == size


def test_total_is_over_all_symbols():
    scores = score(make_model("lstm"), SEQUENCES)
    whole = total(scores)
    assert whole.nats_per_symbol == pytest.approx(sum(s.nats for s in scores) / (3 + 1 + 4 + 3))
    assert (whole.steps, whole.sequences, whole.exact) == (8, 3, True)


def test_texts_and_rolls_are_taken():
    text = make_model("lstm").replace(vocabulary=Vocabulary(("a",)))
    assert [row.tolist() for row in scoring._rows(text, ["aa", "a"], None)] == [[2, 2], [2]]
    assert scoring._rows(text, ["ab"], "a")[0].tolist() == [2, 2]
    assert [row.tolist() for row in scoring._rows(text, jnp.array([[2, 2]]), None)] == [[2, 2]]
    with pytest.raises(UserError, match="sequence 1: Symbol 'b' at position 0"):
        score(text, ["a", "b"])
    music = make_model("lstm", "bernoulli")
    rolls = [np.zeros((2, 88), bool), np.ones((3, 88), int).tolist()]
    assert [row.shape for row in scoring._rows(music, rolls, None)] == [(2, 88), (3, 88)]
    with pytest.raises(UserError, match="the sequences are texts: this model takes piano rolls"):
        score(music, ["aa"])
    with pytest.raises(UserError, match="sequence 0 is ids: this model takes rolls"):
        score(music, [[1]])


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ("abc", "sequences must be a list"),
        ([], "sequences must be a list of at least one"),
        (["abc"], "the sequences are texts: this model takes ids"),
        ([[0], [1, 2, 0, 0, 1]], "sequence 1 has 5 steps, this model takes at most 4"),
        ([[0], [NUM_SYMBOLS]], "sequence 1 has the id 3: the model's are 0 to 2"),
        ([[0], [-1]], "sequence 1 has ids from -1"),
        ([[0], []], "sequence 1"),
        ([np.ma.masked_equal([0, 1], 1)], "sequence 0 is masked"),
        (np.array(3), "not a ndarray"),
        ([np.zeros((2, 88))], "sequence 0 is a piano roll: this model takes ids"),
    ],
)
def test_what_cannot_be_scored_is_named(sequences, message):
    with pytest.raises(UserError, match=message):
        score(make_model("lstm"), sequences)
