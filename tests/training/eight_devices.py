"""Run by test_mesh.py in a process of its own, where the CPU is eight devices."""

import jax
import numpy as np
import pytest

from nlf_jax.errors import UserError
from nlf_jax.files import read_rows
from nlf_jax.latents import continue_from, interpolate, reconstruct
from nlf_jax.mesh import make_mesh
from nlf_jax.sampling import sample
from nlf_jax.training import evaluate
from nlf_jax.training.arrays import to_arrays


def finish(trainer, num_steps=None):
    trainer.run(lambda: trainer.step == num_steps)
    return trainer


@pytest.fixture(scope="module")
def runs(make_config, make_trainer, changes, tmp_path_factory):
    """Trainers of the same run: on one device, and half on eight and then half on one."""
    path = tmp_path_factory.mktemp("runs")
    config = make_config("af_scf", **changes | {"num_epochs": 1})
    one = finish(make_trainer(config, path / "one", num_devices=1))
    eight = finish(make_trainer(config, path / "eight", num_devices=8), num_steps=3)
    for leaf in jax.tree.leaves(eight.state):
        assert leaf.is_fully_replicated
        assert len(leaf.sharding.device_set) == 8
    resumed = make_trainer(config, path / "eight", num_devices=1)
    assert resumed.step == 3
    return one, finish(resumed), path


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-5, atol=2e-6, err_msg=name)


def test_there_are_eight_devices():
    assert make_mesh().size == 8
    with pytest.raises(UserError, match=r"--mesh=9, but the number of devices here is 8 \(cpu\)"):
        make_mesh(9)


def test_half_a_run_on_eight_devices_and_half_on_one_ends_as_on_one(runs):
    one, resumed, path = runs
    assert resumed.step == one.step == 6
    assert_close(to_arrays(resumed.state), to_arrays(one.state))
    rows = [read_rows(path / name / "metrics.jsonl") for name in ("one", "eight")]
    losses = [[row["bpc"] for row in each] for each in rows]
    assert len(losses[0]) == 7
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-5)


def test_scores_do_not_depend_on_the_devices(runs, corpus):
    model = runs[0].state.model
    key = jax.random.key(5)
    scores = [
        evaluate.score(
            model, corpus.splits["test"], key, batch_size=8, buckets=(9,), mesh=make_mesh(number)
        )
        for number in (1, 8)
    ]  # fmt: skip
    assert len(scores[0].elbo) == 12
    for one, eight in zip(scores[0][:-1], scores[1][:-1], strict=True):
        np.testing.assert_allclose(eight, one, rtol=2e-5, atol=2e-6)


def test_what_is_drawn_does_not_depend_on_the_devices(runs, corpus):
    model, key = runs[0].state.model, jax.random.key(5)
    first, second = corpus.splits["test"][:2]
    drawings = {
        "sample": lambda mesh: sample(model, key, num_samples=3, mesh=mesh),
        "reconstruct": lambda mesh: reconstruct(
            model, first[None], [len(first)], key, greedy=False, mesh=mesh
        ),
        "interpolate": lambda mesh: interpolate(
            model, first, second, key, num_points=3, greedy=False, mesh=mesh
        ),
        "continue_from": lambda mesh: continue_from(
            model, first[:1], key, num_samples=3, num_proposals=2, mesh=mesh
        ),
    }
    for name, draw in drawings.items():
        for a, b in zip(draw(None), draw(make_mesh(8)), strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)
