"""Every committed run can still be read: its config makes the network that was scored."""

import json
from pathlib import Path

import jax
import pytest

from nlf_jax.models import create_network
from nlf_jax.options import restore
from nlf_jax.training.config import TrainConfig

ROOT = Path(__file__).parents[2]
RUNS = sorted(path.parent for path in (ROOT / "results").rglob("config.json"))


def test_there_are_runs():
    assert len(RUNS) > 10


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_the_network_has_as_many_parameters_as_were_scored(run):
    description = json.loads((run / "config.json").read_text())
    config = restore(TrainConfig, description["config"], description["format"])
    sizes = {name: description["data"][name] for name in ("num_symbols", "max_length")}
    make = lambda key: create_network(config.network, **sizes, key=key)  # noqa: E731
    leaves = jax.tree.leaves(jax.eval_shape(make, jax.random.key(0)))
    scored = json.loads((run / "eval_test.json").read_text())
    assert sum(leaf.size for leaf in leaves) == scored["parameters"]
    assert config.model == scored["model"]
