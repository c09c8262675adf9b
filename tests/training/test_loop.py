import dataclasses
import json

import jax
import numpy as np
import pytest

from nlf_jax.data import batching
from nlf_jax.errors import UserError
from nlf_jax.files import read_rows
from nlf_jax.training import checkpoint_reading, evaluate, schedules, workdir


def train(trainer, num_steps=None):
    """Runs to the end, or until so many of the questions whether to stop were asked."""
    asked = iter(range(10**9))
    return trainer.run(lambda: num_steps is not None and next(asked) >= num_steps)


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(("model", "buckets", "accumulate"), [("lstm", (5,), 1), ("af_scf", (), 3)])
def test_stopped_anywhere_and_resumed_ends_with_the_same_bits(
    model, buckets, accumulate, make_config, make_trainer, final_arrays, tmp_path
):
    # Plateau divisions, the KL ramp and dropout are all in these 15 steps; the parts stop in
    # different epochs, and some of the questions are asked in the middle of a validation.
    # An epoch is 5 or 6 steps, so that with ``accumulate`` some gradients are left over.
    changes = {"learning_rate": 0.5, "dropout": 0.2, "buckets": buckets, "accumulate": accumulate}
    config = make_config(model, **changes)
    whole = make_trainer(config, tmp_path / "whole")
    assert train(whole)
    if accumulate > 1:
        assert [int(n) for n in whole.state.opt_state[:2]] == [0, 6]
    for asked in (0, 3, 2, 6, 9):
        part = make_trainer(config, tmp_path / "parts")
        assert not train(part, asked)
    last = make_trainer(config, tmp_path / "parts")
    assert 0 < last.step < last.num_steps
    assert train(last)
    assert same(final_arrays(whole), final_arrays(last))
    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "parts")
    assert (tmp_path / "whole/best.json").read_text() == (tmp_path / "parts/best.json").read_text()


def rows_of(workdir):
    """What must not depend on interruptions: windows' means and times do."""
    names = ("split", "step", "epoch", "kl_weight", "lr")
    rows = read_rows(workdir / "metrics.jsonl")
    kept = [row for row in rows if row["step"] % 2 == 0 or row["split"] == "valid"]
    return [[row.get(name) for name in names] for row in kept]


def test_completed_run_is_neither_trained_nor_validated_again(
    make_config, make_trainer, final_arrays, monkeypatch, tmp_path
):
    config = make_config(num_epochs=1)
    first = make_trainer(config, tmp_path)
    train(first)
    rows = (tmp_path / "metrics.jsonl").read_text().count("\n")
    best = (tmp_path / "best.json").read_text()
    second = make_trainer(config, tmp_path)
    assert second.step == second.num_steps
    monkeypatch.setattr(evaluate, "score", None)
    assert train(second)
    assert (tmp_path / "best.json").read_text() == best
    assert same(final_arrays(first), final_arrays(second))
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == rows


def test_trains_and_keeps_the_newest_and_the_best(make_config, make_trainer, tmp_path):
    config = make_config(num_epochs=8, learning_rate=0.05)
    trainer = make_trainer(config, tmp_path)
    train(trainer)
    rows = read_rows(tmp_path / "metrics.jsonl")
    valid = {row["step"]: row["bpc"] for row in rows if row["split"] == "valid"}
    losses = [row["loss"] for row in rows if row["split"] == "train"]
    assert losses[-1] < losses[0] - 0.1
    best = json.loads((tmp_path / "best.json").read_text())
    assert best["step"] == min(valid, key=valid.get)
    steps = workdir.step_numbers(tmp_path / "checkpoints")
    assert steps[-1] == trainer.num_steps
    assert best["step"] in steps
    assert len(steps) <= 4


def test_no_best_and_no_plateau_before_the_ramp_is_over(make_config, make_trainer, tmp_path):
    config = make_config("af_scf", kl_zero_epochs=1.0, kl_ramp_epochs=1.5, num_epochs=3)
    trainer = make_trainer(config, tmp_path)
    train(trainer)
    assert not (tmp_path / "best.json").exists()
    weights = [
        (row["step"], row["kl_weight"])
        for row in read_rows(tmp_path / "metrics.jsonl")
        if row["split"] == "train"
    ]
    for step, weight in weights:
        epoch = (step - 1) / (trainer.num_steps / 3)
        assert weight == schedules.kl_weight(epoch, zero_epochs=1.0, ramp_epochs=1.5)


def test_plateau_divides_the_rate_and_starts_adam_afresh(make_config, make_trainer, tmp_path):
    config = make_config(learning_rate=1e-12, num_epochs=2, log_every=1)
    trainer = make_trainer(config, tmp_path)
    # A rate too small to change a parameter: the second epoch brings no improvement.
    train(trainer)
    assert trainer.host.plateau.learning_rate == pytest.approx(0.25e-12)
    counts = [x for x in jax.tree.leaves(trainer.state.opt_state) if x.dtype == np.int32]
    assert [int(count) for count in counts] == [0]


def test_ten_bad_steps_in_a_row_stop_with_the_last_good_state(
    make_config, make_trainer, final_arrays, monkeypatch, tmp_path
):
    config = make_config(num_epochs=9, learning_rate=0.1, checkpoint_every=1000)
    trainer = make_trainer(config, tmp_path)
    train(trainer, 4)
    good = final_arrays(trainer)
    trainer = make_trainer(config, tmp_path)
    broken = trainer.state.model.replace(length_log_prob=np.full(10, np.nan, np.float32))
    trainer.state = trainer.state.replace(model=broken)
    monkeypatch.setattr(trainer, "_finish_epoch", lambda stop: setattr(trainer.host, "epochs", 99))
    with pytest.raises(
        UserError, match=r"not finite in 10 steps in a row, up to step 14 .*rows \d"
    ):
        train(trainer)
    saved = workdir.step_numbers(tmp_path / "checkpoints")[-1]
    assert 14 <= saved <= 14 + 2 * config.log_every
    parts = checkpoint_reading.read_parts(tmp_path / "checkpoints", saved, ("model", "meta"))[
        "model"
    ]
    for name, value in parts.items():
        if name.startswith("network"):
            assert np.array_equal(value, good[f"model.{name}"])


def test_every_training_row_is_seen_once_an_epoch(make_config, make_trainer, corpus, tmp_path):
    config = make_config(num_epochs=2)
    seen = []
    trainer = make_trainer(config, tmp_path)
    inner = trainer._window.add
    trainer._window.add = lambda info, metrics: (seen.append(info.rows), inner(info, metrics))[1]
    train(trainer)
    num = batching.steps_per_epoch(
        corpus.splits["train"], batch_size=config.batch_size, buckets=(9,)
    )
    for epoch in (0, 1):
        rows = np.concatenate(seen[epoch * num : (epoch + 1) * num])
        assert sorted(rows[rows >= 0]) == list(range(36))


@pytest.fixture
def compiled():
    """Names of the functions compiled since."""
    names = []

    def note(event, seconds, **details):
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(details.get("fun_name"))

    jax.monitoring.register_event_duration_secs_listener(note)
    yield names
    jax.monitoring.unregister_event_duration_listener(note)


def test_a_run_compiles_its_step_once_for_each_bucket(
    make_config, make_trainer, compiled, tmp_path
):
    # No other test has this clipping norm, so nothing is compiled yet.
    config = make_config(buckets=(3, 6), grad_clip=0.77, num_epochs=3, schedule="cosine")
    trainer = make_trainer(config, tmp_path)
    train(trainer)
    assert trainer._train_step._cache_size() == 3
    assert sum("train_step" in str(name) for name in compiled) == 3
    compiled.clear()
    config = dataclasses.replace(config, num_epochs=4)
    train(make_trainer(config, tmp_path))
    assert not [name for name in compiled if "train_step" in str(name) or "score" in str(name)]
