import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nlf_jax
from benchmarks.mixture_of_flows import mix, summarise
from nlf_jax.errors import UserError
from nlf_jax.scoring import Score, score

CONFIG = nlf_jax.ModelConfig(
    model="af_codebook", embedding=8, hidden=8, latent=4, flow_hidden=8, code_width=1e-2
)
STEPS, SYMBOLS = 3, 3


def model_of(seed):
    network = nlf_jax.create_network(
        CONFIG, num_symbols=SYMBOLS, max_length=STEPS, key=jax.random.key(seed)
    )
    return nlf_jax.models.SequenceModel(network, jnp.log(jnp.full(STEPS + 1, 1 / (STEPS + 1))))


def test_probabilities_of_a_mixture_add_up_to_one():
    every = np.stack(np.meshgrid(*[np.arange(SYMBOLS)] * STEPS), -1).reshape(-1, STEPS)
    sequences = list(every.astype(np.int32))
    flows = [score(model_of(seed), sequences) for seed in (0, 1)]
    total = sum(math.exp(-each.nats_given_length) for each in mix(flows))
    assert total == pytest.approx(1, abs=1e-4)


def exact(by_step):
    by_step = np.array(by_step, np.float32)
    return Score(len(by_step), 1, float(by_step.sum()), 0.5, exact=True, by_step=by_step)


def test_steps_are_mixed_one_by_one():
    (mixed,) = mix([[exact([0.1, 2.0])], [exact([0.3, 1.0])]])
    means = [(np.exp(-0.1) + np.exp(-0.3)) / 2, (np.exp(-2.0) + np.exp(-1.0)) / 2]
    assert mixed.nats == pytest.approx(0.5 - np.log(means).sum(), rel=1e-6)


def test_a_mixture_of_one_flow_is_that_flow():
    scores = [exact([1.0, 2.0, 3.0, 4.0]), exact([2.0])]
    alone = summarise(mix([scores]))
    assert alone["nll_nats"] == pytest.approx(13 / 7)
    assert alone["nll_no_length_nats"] == pytest.approx(12 / 5)
    assert summarise(mix([scores, scores])) == pytest.approx(alone)


def test_only_exact_scores_are_mixed():
    with pytest.raises(UserError, match="whose scores are exact"):
        mix([[exact([1.0])], [exact([1.0])._replace(exact=False)]])
