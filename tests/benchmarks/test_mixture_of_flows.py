import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nlf_jax
from benchmarks.mixture_of_flows import mix, summarise
from nlf_jax.errors import UserError
from nlf_jax.scoring import score

CONFIG = nlf_jax.ModelConfig(
    model="af_codebook", embedding=8, hidden=8, latent=4, flow_hidden=8, code_width=1e-2
)
STEPS, SYMBOLS = 4, 3


def model_of(seed, config=CONFIG):
    network = nlf_jax.create_network(
        config, num_symbols=SYMBOLS, max_length=STEPS, key=jax.random.key(seed)
    )
    return nlf_jax.models.SequenceModel(network, jnp.log(jnp.full(STEPS + 1, 1 / (STEPS + 1))))


def test_probabilities_of_a_mixture_add_up_to_one():
    every = np.stack(np.meshgrid(*[np.arange(SYMBOLS)] * STEPS), -1).reshape(-1, STEPS)
    sequences = list(every.astype(np.int32))
    flows = [score(model_of(seed), sequences) for seed in (0, 1)]
    total = sum(math.exp(-each.nats_given_length) for each in mix(flows))
    assert total == pytest.approx(1, abs=1e-4)


def test_a_mixture_of_one_flow_is_that_flow():
    scores = score(model_of(0), [np.array([0, 1, 2, 2], np.int32), np.array([1], np.int32)])
    (alone,) = [summarise(mix([scores]))]
    nats = sum(each.nats for each in scores)
    assert alone["nll_nats"] == pytest.approx(nats / 7, rel=1e-6)
    assert summarise(mix([scores, scores])) == pytest.approx(alone)


def test_only_exact_scores_are_mixed():
    config = dataclasses.replace(CONFIG, model="af_scf", flow_layers=1)
    inexact = score(model_of(0, config), [np.array([0, 1], np.int32)])
    with pytest.raises(UserError, match="whose scores are exact"):
        mix([inexact])
