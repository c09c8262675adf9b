"""The autoregressive likelihood of a frame's notes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nlf_jax.models.emissions import Bernoulli, FrameScores
from nlf_jax.objectives import elbo
from nlf_jax.sampling import sample
from tests.models.tiny import NUM_SYMBOLS, all_rolls, make_batch, make_model

KEY = jax.random.key(2)
FRAMES = all_rolls(1)[0][:, 0]
FEATURES = jnp.array([0.7, -0.4, 1.1])
pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def emission():
    return make_model("lstm", "bernoulli", mixtures=2, frame_units=7).network.emission


@pytest.fixture(scope="module")
def scores():
    """Two components: [K, V + 1], and the features."""
    return FrameScores(jnp.array([[2.0, 0.5, -1.0, 0.3], [-2.0, -1.0, 1.5, 0.0]]), FEATURES)


def probabilities(emission, scores):
    return np.exp(jax.vmap(emission.log_prob, (None, 0))(scores, FRAMES))


def conditional(emission, component, frame, v):
    """Logit of bit v, found from the bits below only."""
    below = jnp.where(jnp.arange(NUM_SYMBOLS) < v, frame, 0.0)
    return component[v] + emission.keys.net(below, FEATURES)[v, 0]


def chain(emission, component, frame):
    """p(frame | component), bit by bit."""
    logits = np.array([conditional(emission, component, frame, v) for v in range(NUM_SYMBOLS)])
    return np.prod(1 / (1 + np.exp(np.where(frame > 0, -logits, logits))))


def test_it_is_the_chain_of_its_conditionals(emission, scores):
    shares = jax.nn.softmax(scores.components[:, -1])
    expected = [[chain(emission, row, frame) for frame in FRAMES] for row in scores.components]
    np.testing.assert_allclose(probabilities(emission, scores), shares @ np.array(expected), 1e-5)


def test_it_sums_to_one_and_is_not_independent(emission, scores):
    p = probabilities(emission, scores)
    np.testing.assert_allclose(p.sum(), 1.0, rtol=1e-5)
    assert np.abs(p - probabilities(Bernoulli, scores.components[0, :-1])).max() > 0.05


def test_samples_follow_it(emission, scores):
    many = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (5000, *leaf.shape)), scores)
    drawn = emission.sample(many, KEY, jnp.ones(()))
    assert drawn.dtype == bool
    counts = np.bincount(np.asarray(drawn) @ [4, 2, 1], minlength=8)
    np.testing.assert_allclose(counts / 5000, probabilities(emission, scores), atol=0.025)


def test_mode_takes_bit_after_bit_the_more_probable_value(emission, scores):
    greedy = np.zeros((2, NUM_SYMBOLS))
    for frame, component in zip(greedy, scores.components, strict=True):
        for v in range(NUM_SYMBOLS):
            frame[v] = conditional(emission, component, frame, v) > 0
    best = max(greedy, key=lambda frame: emission.log_prob(scores, frame))
    mode = emission.mode(scores)
    assert mode.dtype == bool
    np.testing.assert_array_equal(mode, best)


def test_low_temperature_draws_the_mode_of_one_component(emission):
    scores = FrameScores(jnp.tile(jnp.array([[0.4, -0.3, 0.2, 0.0]]), (64, 1, 1)), FEATURES)
    scores = scores._replace(features=jnp.tile(FEATURES, (64, 1)))
    drawn = emission.sample(scores, KEY, jnp.float32(1e-4))
    np.testing.assert_array_equal(drawn, emission.mode(scores))


def test_every_parameter_of_the_output_gets_a_gradient():
    network = make_model("lstm", "bernoulli", frame_units=7).network

    def log_prob(network, frame):
        return network.emission.log_prob(network.out(FEATURES, jnp.eye(3)), frame)

    frames = jnp.asarray(FRAMES)
    gradients = jax.vmap(jax.grad(log_prob), (None, 0))(network, frames)
    net = gradients.out.keys.net
    for leaf in jax.tree.leaves((net.context, net.layers, net.out_weight, net.out_bias)):
        assert (leaf != 0).any()


def test_a_flow_scores_and_draws_frames():
    model, (x, lengths) = make_model("af_scf", "bernoulli", frame_units=7), make_batch("bernoulli")
    bound = jax.jit(elbo)(model, x, lengths, KEY)
    assert np.isfinite(np.asarray(bound.elbo)[[0, 2]]).all()
    drawn = sample(model, KEY, num_samples=2, length=4)
    assert drawn.symbols.shape == (2, 4, NUM_SYMBOLS)
