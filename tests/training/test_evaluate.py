import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nlf_jax import objectives
from nlf_jax.data import batching
from nlf_jax.models import SequenceModel, create_network
from nlf_jax.training import evaluate


@pytest.fixture(scope="module")
def rows():
    draw = np.random.default_rng(0)
    return [draw.integers(2, 6, size=length).astype(np.int32) for length in (3, 5, 4, 5, 2)]


@pytest.fixture
def model(make_config):
    config = make_config("lstm").network
    network = create_network(config, num_symbols=6, max_length=5, key=jax.random.key(1))
    return SequenceModel(network=network, length_log_prob=jnp.arange(-6.0, 0.0))


def test_score_is_total_nats_over_total_symbols(model, rows):
    scores = evaluate.score(
        model, rows, jax.random.key(0), batch_size=4, buckets=(3, 5), nll_samples=2
    )
    total = 0.0
    for row in rows:
        length = np.array([len(row)], np.int32)
        total -= float(objectives.elbo(model, row[None], length, jax.random.key(0)).elbo[0])
    summary = scores.summary()
    assert sorted(scores.lengths) == [2, 3, 4, 5, 5]
    assert summary["elbo_nats"] == pytest.approx(total / 24, rel=1e-5)
    # The baseline's importance-weighted score is exact.
    assert summary["nll_bits"] == pytest.approx(summary["elbo_bits"], rel=1e-6)
    assert summary["nll_bits"] == pytest.approx(total / 24 / np.log(2), rel=1e-5)
    parts = [summary[f"{name}_nats"] for name in ("reconstruction", "kl", "length")]
    assert sum(parts) == pytest.approx(summary["elbo_nats"], rel=1e-6)


def test_a_length_never_seen_is_told_and_leaves_the_score_given_the_length(model, rows):
    how = {"batch_size": 4, "buckets": (3, 5), "nll_samples": 2}
    finite = evaluate.score(model, rows, jax.random.key(0), **how).summary()
    prior = model.length_log_prob.at[np.array([3, 5])].set(-jnp.inf)
    model = model.replace(length_log_prob=prior)
    summary = evaluate.score(model, rows, jax.random.key(0), **how).summary()
    assert "impossible" not in finite
    assert summary["impossible"] == 3
    infinite = {name for name, value in summary.items() if value == np.inf}
    assert infinite == {f"{n}_{u}" for n in ("elbo", "length", "nll") for u in ("nats", "bits")}
    for name in ("nll_no_length", "reconstruction", "kl"):
        for unit in ("nats", "bits", "bits_standard_error"):
            assert summary[f"{name}_{unit}"] == finite[f"{name}_{unit}"]


def test_every_batch_and_both_scores_have_noise_of_their_own(make_config, rows):
    """The same row in three batches; with one sample minus the ELBO would be the NLL's estimate."""
    config = make_config("af_scf").network
    network = create_network(config, num_symbols=6, max_length=5, key=jax.random.key(1))
    model = SequenceModel(network=network, length_log_prob=jnp.zeros(6))
    scores = evaluate.score(
        model, [rows[1]] * 3, jax.random.key(0), batch_size=1, buckets=(5,), nll_samples=1
    )
    assert len(np.unique(scores.elbo)) == 3
    assert len(np.unique(scores.nll_no_length)) == 3
    assert (np.abs(scores.elbo + scores.nll_no_length) > 1e-4).all()


def test_stops_between_batches(model, rows):
    answers = iter([False, True])
    stop = lambda: next(answers)  # noqa: E731
    arguments = (model, rows, jax.random.key(0))
    assert len(batching.eval_batches(rows, batch_size=4, buckets=(5,))) == 2
    with pytest.raises(evaluate.Interrupted):
        evaluate.score(*arguments, batch_size=4, buckets=(5,), should_stop=stop)


def test_ratio_error_agrees_with_resampling():
    draw = np.random.default_rng(3)
    weights = draw.integers(2, 30, size=400)
    values = weights * (1.5 + 0.1 * draw.normal(size=400)) + draw.normal(size=400)
    ratio, error = evaluate.ratio_with_error(values, weights)
    picks = draw.integers(0, 400, size=(2000, 400))
    resampled = values[picks].sum(1) / weights[picks].sum(1)
    assert ratio == pytest.approx(values.sum() / weights.sum())
    assert error == pytest.approx(resampled.std(), rel=0.1)


def test_subset_is_fixed_by_the_seed():
    everything = list(range(100))
    first = evaluate.subset(everything, 10, seed=1)
    assert first == evaluate.subset(everything, 10, seed=1)
    assert first != evaluate.subset(everything, 10, seed=2)
    assert len(set(first)) == 10
    assert evaluate.subset(everything, 200, seed=1) == everything
    assert evaluate.subset(everything, None, seed=1) == everything


def test_tied_weights_count_once(make_config):
    config = make_config("lstm").network
    network = create_network(config, num_symbols=6, max_length=5, key=jax.random.key(1))
    model = SequenceModel(network=network, length_log_prob=jnp.zeros(6))
    sizes = [leaf.size for leaf in jax.tree.leaves(network)]
    assert evaluate.num_parameters(model) == sum(sizes)
    assert sizes.count(6 * 4) == 1
