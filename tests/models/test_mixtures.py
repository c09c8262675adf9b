"""The joint likelihood of a frame's notes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nlf_jax.models.emissions import Bernoulli, BernoulliMixture
from nlf_jax.objectives import elbo
from nlf_jax.sampling import sample
from tests.models.tiny import NUM_SYMBOLS, all_rolls, make_batch, make_model

KEY = jax.random.key(2)
FRAMES = all_rolls(1)[0][:, 0]
pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def scores():
    """Two components whose bits are nearly opposite: [K, V + 1]."""
    return jnp.array([[2.0, 1.5, -2.0, 0.3], [-2.0, -1.0, 2.5, 0.0]])


def probabilities(scores):
    return np.exp(jax.vmap(BernoulliMixture.log_prob, (None, 0))(scores, FRAMES))


def test_it_is_the_weighted_sum_of_its_components(scores):
    shares = np.exp([0.3, 0.0]) / np.exp([0.3, 0.0]).sum()
    each = np.exp([Bernoulli.log_prob(row[:-1], jnp.asarray(FRAMES)) for row in scores])
    np.testing.assert_allclose(probabilities(scores), shares @ each, rtol=1e-5)
    np.testing.assert_allclose(probabilities(scores).sum(), 1.0, rtol=1e-5)


def test_samples_follow_it(scores):
    drawn = BernoulliMixture.sample(jnp.tile(scores, (5000, 1, 1)), KEY, jnp.ones(()))
    assert drawn.dtype == bool
    counts = np.bincount(np.asarray(drawn) @ [4, 2, 1], minlength=8)
    np.testing.assert_allclose(counts / 5000, probabilities(scores), atol=0.025)


def test_mode(scores):
    mode = np.asarray(BernoulliMixture.mode(scores))
    np.testing.assert_array_equal(mode, FRAMES[probabilities(scores).argmax()])
    batch = BernoulliMixture.mode(jnp.stack([scores, scores.at[1, -1].set(5.0)]))
    np.testing.assert_array_equal(batch, [mode, [False, False, True]])


@pytest.mark.parametrize("likelihood", [{"mixtures": 2}, {"frame_units": 7}], ids=str)
def test_baseline_sums_to_one_and_samples_it(likelihood):
    model = make_model("lstm", "bernoulli", **likelihood)
    bound = jax.jit(elbo)(model, *all_rolls(2), KEY)
    joint = np.exp(bound.elbo - bound.length_log_prob).reshape(8, 8)
    np.testing.assert_allclose(joint.sum(), 1.0, atol=1e-5)
    symbols = np.asarray(sample(model, KEY, num_samples=20_000, length=2).symbols)
    counts = np.bincount(symbols[:, 0] @ [4, 2, 1], minlength=2**NUM_SYMBOLS)
    np.testing.assert_allclose(counts / 20_000, joint.sum(1), atol=0.015)


def test_every_parameter_of_the_output_gets_a_gradient():
    out = make_model("lstm", "bernoulli", mixtures=2).network.out

    def log_prob(out):
        return BernoulliMixture.log_prob(out(jnp.ones(3), jnp.eye(3)), FRAMES[5])

    for leaf in jax.tree.leaves(jax.grad(log_prob)(out)):
        assert (leaf != 0).any()


def test_a_flow_scores_and_draws_mixtures():
    model, x = make_model("af_nohidden", "bernoulli", mixtures=2), make_batch("bernoulli")[0]
    scores = model.network.scores(jnp.ones((4, 2)), jnp.int32(4))
    assert scores.shape == (4, 2, NUM_SYMBOLS + 1)
    assert BernoulliMixture.log_prob(scores, x[0]).shape == (4,)
