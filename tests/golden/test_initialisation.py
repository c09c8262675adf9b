"""Initial parameters against the ranges and spreads of the authors' own."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from flax import nnx

from nlf_jax.models import ModelConfig, create_network
from nlf_jax.models.priors import create_prior
from tests.golden import name_map

# The sizes of the models in init_stats.json.
VOCABULARY, MAX_LENGTH, PRIOR_HIDDEN = 60, 40, 110
SIZES = ModelConfig(embedding=120, hidden=120, latent=20, flow_layers=2, flow_hidden=90)
NAMES = {
    "af_af": "dfmodel_af_af",
    "af_scf": "dfmodel_af_scf",
    "af_nohidden": "dfmodel_af_nohiddenflow",
    "lstm": "baseline",
}
# Theirs spread by as much because it is a sample: 1/sqrt(n) of n numbers, and they are rounded.
SLACK = 4.0


def make_network(model):
    config = replace(SIZES, model=model)
    sizes = {"num_symbols": VOCABULARY, "max_length": MAX_LENGTH}
    network = create_network(config, **sizes, key=jax.random.key(0))
    if model != "lstm":
        prior_config = replace(config, hidden=PRIOR_HIDDEN)
        network.prior = create_prior(prior_config, MAX_LENGTH, nnx.Rngs(1))
    return network


@pytest.mark.parametrize("model", NAMES)
def test_initial_parameters(golden_dir, model):
    expected = json.loads((golden_dir / "init_stats.json").read_text())[NAMES[model]]
    seen = set()
    for parameter, name, _ in name_map.network(make_network(model)):
        ours, theirs = np.asarray(parameter[...]), expected[name]
        bound = max(theirs["max"], -theirs["min"])
        slack = SLACK / np.sqrt(min(ours.size, np.prod(theirs["shape"])))
        np.testing.assert_allclose(np.abs(ours).max(), bound, rtol=slack, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(ours.std(), theirs["std"], rtol=slack, atol=1e-5, err_msg=name)
        seen.add(name)
    assert seen == set(expected)
