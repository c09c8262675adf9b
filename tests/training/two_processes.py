"""Run by test_hosts.py in two processes of two devices each: every test runs in both at once."""

import os
from pathlib import Path

import jax
import numpy as np
import pytest

from nlf_jax.errors import UserError
from nlf_jax.mesh import make_mesh
from nlf_jax.sampling import sample
from nlf_jax.training import evaluate, hosts
from nlf_jax.training.arrays import to_arrays
from nlf_jax.training.checkpoint_reading import read_parts

PROCESS = int(os.environ["NLF_TEST_PROCESS"])
DIRECTORY = Path(os.environ["NLF_TEST_DIRECTORY"])
hosts.connect(os.environ["NLF_TEST_COORDINATOR"], 2, PROCESS)


def test_the_devices_are_those_of_both():
    assert jax.process_count() == 2
    assert make_mesh().size == 4
    with pytest.raises(UserError, match="--mesh=2: several processes use all their devices"):
        make_mesh(2)


@pytest.fixture(scope="module")
def start(make_config, make_trainer, changes):
    """Makes the trainer of a process, which goes on with the run if there is one."""
    config = make_config("af_scf", **changes)
    return lambda: make_trainer(config, DIRECTORY / str(PROCESS))


@pytest.fixture(scope="module")
def trainer(start):
    """A trainer that has done half of its run."""
    trainer = start()
    assert not trainer.run(lambda: PROCESS == 1 and trainer.step >= 5)
    return trainer


def test_what_process_0_saved_is_gone_on_with_in_both(trainer, start):
    assert len(jax.tree.leaves(trainer.state)[0].sharding.device_set) == 4
    again = start()
    assert not again.run(lambda: True)
    assert (again.step, again.host.epochs) == (trainer.step, 1)
    expected, found = to_arrays(trainer.state), to_arrays(again.state)
    assert all(np.array_equal(found[name], value) for name, value in expected.items())


def test_scores_samples_and_checkpoints(trainer, corpus):
    model, key = trainer.state.model, jax.random.key(5)
    options = {"batch_size": 8, "buckets": (9,)}
    scores = evaluate.score(model, corpus.splits["test"], key, **options)
    samples = sample(model, key, num_samples=3, mesh=make_mesh())
    found = {"step": trainer.step, "scores": np.stack(scores[:-1])}
    found |= jax.device_get(samples)._asdict()
    np.savez(DIRECTORY / f"found_{PROCESS}.npz", **found)
    # Each process can read a checkpoint without the other.
    parts = read_parts(DIRECTORY / "0/checkpoints", trainer.step, ("model", "meta"))
    assert parts["meta"]["host"]["data"]


def test_what_process_0_does_or_fails_to_do_reaches_both():
    action = {0: lambda: {"a": [1, None]}, 1: lambda: pytest.fail("called")}[PROCESS]
    assert hosts.on_primary(action) == {"a": [1, None]}

    def fail():
        raise UserError("no space.")

    with pytest.raises(UserError, match=r"^no space\.$"):
        hosts.on_primary(fail)


def test_different_values_are_an_error_in_both():
    hosts.require_same({"a": 1}, "different.")
    with pytest.raises(UserError, match="different"):
        hosts.require_same({"a": PROCESS}, "different.")
