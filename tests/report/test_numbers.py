import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nlf_jax
from nlf_jax.bijectors.recurrent import SequenceContext
from nlf_jax.report import conditionals
from nlf_jax.report.curves import curve
from nlf_jax.report.density import Mixture, main_directions, step_priors
from nlf_jax.report.positions import binned, step_costs
from nlf_jax.report.scores import evaluations_of, read_evaluations, score_of
from nlf_jax.report.spelling import spelling_section
from nlf_jax.training.evaluate import weights_digest
from tests.models.tiny import make_batch, make_model

KEY = jax.random.key(0)
TEXT = jnp.array([2, 0, 1, 1])


@pytest.mark.parametrize("name", ["lstm", "af_codebook"])
def test_conditionals_are_those_of_the_score(name):
    model = make_model(name) if name == "lstm" else make_model(name, code_width=0.02)
    shown = conditionals.conditionals(model, TEXT, KEY)
    np.testing.assert_allclose(shown.sum(1), 1, rtol=1e-5)
    bound = nlf_jax.elbo(model, TEXT[None], [4], KEY)
    total = np.log(shown[np.arange(4), TEXT]).sum()
    np.testing.assert_allclose(total, (bound.elbo - bound.length_log_prob)[0], rtol=1e-4)


def test_the_estimate_is_close_to_what_is_exact():
    model = make_model("af_codebook", code_width=0.02)
    estimate = np.asarray(conditionals._estimate(model.network, TEXT, KEY, 3000))
    np.testing.assert_allclose(estimate.sum(1), 1, rtol=1e-4)
    exact = conditionals.conditionals(model, TEXT, KEY)
    np.testing.assert_allclose(estimate, exact, atol=0.03)


def test_a_codebook_flow_whose_score_is_a_bound_is_estimated(monkeypatch):
    model = make_model("af_codebook", code_width=0.02, code_reading="raw")
    monkeypatch.setattr(conditionals, "_exact", None)
    shown = conditionals.conditionals(model, TEXT, KEY)
    np.testing.assert_allclose(shown.sum(1), 1, rtol=1e-4)


def test_the_score_of_frames_is_a_share_of_draws():
    model = make_model("lstm", emission="bernoulli")
    x = jnp.array([[1, 0, 1], [0, 0, 1]], bool)
    shown = conditionals.conditionals(model, x, KEY)
    scores = jax.jit(type(model.network).scores)(model.network, x[:, None], jnp.array([2]))[:, 0]
    np.testing.assert_allclose(shown, jax.nn.sigmoid(scores), atol=4 * 0.5 * 128**-0.5)


def grid(half, size):
    axis = np.linspace(-half, half, size)
    return np.stack(np.meshgrid(axis, axis), axis=-1), (axis[1] - axis[0]) ** 2


@jax.jit
def log_densities(network):
    """Means of the posterior and log p(z_t | z_<t) of these."""
    z = network.encode(TEXT[:, None], jnp.array([4])).mean
    return z, network.prior_log_prob(z, SequenceContext(jnp.array([4])))[:, 0]


def test_the_density_is_the_priors():
    """With a latent of two dimensions the plane is all of it."""
    network = make_model("af_codebook").network
    priors = step_priors(network, TEXT, np.arange(4), KEY)
    z, expected = log_densities(network)
    found = [prior.density(np.asarray(z[t, 0]), np.eye(2)) for t, prior in enumerate(priors)]
    np.testing.assert_allclose(np.log(found), expected, rtol=1e-3, atol=1e-3)
    points, area = grid(6, 300)
    np.testing.assert_allclose(priors[1].density(points, np.eye(2)).sum() * area, 1, rtol=1e-3)


def test_the_density_of_a_plane_is_the_marginal():
    means = np.random.default_rng(0).normal(size=(3, 4))
    prior = Mixture(np.array([0.5, 0.3, 0.2]), means, np.arange(3), 0.4)
    directions = main_directions([prior])
    np.testing.assert_allclose(directions.T @ directions, np.eye(2), atol=1e-12)
    rest = np.linalg.svd(directions, full_matrices=True)[0][:, 2:]
    point, (plane, area) = np.array([0.3, -0.2]), grid(8, 200)
    squares = np.square(point @ directions.T + plane @ rest.T - means[:, None, None]).sum(-1)
    joint = np.exp(-0.5 * squares / 0.16) / (2 * np.pi * 0.16) ** 2
    expected = (prior.weights[:, None, None] * joint).sum() * area
    np.testing.assert_allclose(prior.density(point, directions), expected, rtol=1e-4)


@jax.jit
def first_latents(network):
    """2,000 draws from the prior of the first step."""
    noise = jax.random.normal(jax.random.key(1), (4, 2000, 2))
    context = SequenceContext(jnp.full(2000, 4))
    return network.prior.forward_and_log_det(noise, context)[0][0]


def test_draws_are_the_priors():
    """Of the first step: nothing is known, so that the noise of a sample is pushed through."""
    network = make_model("af_scf").network
    (first, _) = step_priors(network, TEXT, np.array([0, 2]), KEY)
    z = np.asarray(first_latents(network))
    error = 4 * z.std(0) / 100**0.5
    np.testing.assert_array_less(np.abs(first.means.mean(0) - z.mean(0)), error)
    assert set(np.unique(first.symbols)) <= {0, 1, 2}


@pytest.mark.parametrize("name", ["lstm", "af_codebook"])
def test_costs_of_steps_add_up_to_the_bound(name):
    model = make_model(name) if name == "lstm" else make_model(name, code_width=0.02)
    x, lengths = make_batch()
    costs = step_costs(model.network, jnp.asarray(x), jnp.asarray(lengths), KEY)
    mask = np.arange(4)[:, None] < lengths
    bound = nlf_jax.elbo(model, x, lengths, KEY)
    total = np.where(mask, costs[0] + costs[1], 0).sum(0)
    np.testing.assert_allclose(-total, bound.elbo - bound.length_log_prob, rtol=1e-3, atol=1e-3)


def test_bins_leave_padding_out():
    values = np.array([[1.0, 3.0], [2.0, np.nan], [5.0, np.nan]])
    places, means = binned(values, np.array([3, 1]))
    np.testing.assert_array_equal(places, [1])
    np.testing.assert_array_equal(means, [2])


def test_curves_take_what_is_a_number():
    good = {"split": "train", "step": 10, "bpc": 2.0, "tokens": 100}
    bad = [
        good | {"step": -5},
        {},
        good | {"step": "5"},
        good | {"bpc": None},
        good | {"bpc": True},
        good | {"tokens": 9},
    ]
    steps, values = curve([*bad, good, good | {"step": 20, "bpc": 1}], "train", "bpc")
    assert [*steps, *values] == [10, 20, 2, 1]
    steps, values = curve([good | {"step": n, "bpc": n} for n in range(10_000)], "train", "bpc")
    assert len(steps) < 500
    np.testing.assert_array_equal(values, steps)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"scores": 5}', '{"scores": NaN}'])
def test_damaged_evaluations_are_left_out(content, tmp_path):
    (tmp_path / "eval_test.json").write_text(content)
    assert read_evaluations(tmp_path) == {}


def test_an_evaluation_of_other_weights_is_left_out(tmp_path):
    subject = SimpleNamespace(workdir=tmp_path, steps=7, model=make_model("lstm"))
    own, other = (weights_digest(make_model(name)) for name in ("lstm", "gated"))
    for found, is_shown in [
        ({"steps": 7}, True),
        ({"steps": 7, "weights": own}, True),
        ({"steps": 6}, False),
        ({"steps": 7, "weights": other}, False),
    ]:
        (tmp_path / "eval_test.json").write_text(json.dumps(found | {"scores": {}}))
        assert bool(evaluations_of(subject)) == is_shown


@pytest.mark.parametrize(
    ("value", "score"), [(1.5, 1.5), (2, 2.0), ("2", None), (None, None), (True, None)]
)
def test_scores_are_numbers(value, score, tmp_path):
    (tmp_path / "eval_valid.json").write_text(json.dumps({"scores": {"nll_bits": value}}))
    assert score_of(read_evaluations(tmp_path)["valid"], "nll_bits") == score
    assert score_of(None, "nll_bits") is None


def test_a_plane_is_not_drawn_of_one_dimension():
    model = SimpleNamespace(network=SimpleNamespace(latent_size=1))
    section = spelling_section(SimpleNamespace(is_text=True, has_latent=True, model=model), TEXT)
    assert "the latent has one dimension" in section.body
    assert not section.figures
