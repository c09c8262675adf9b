import collections
import itertools
import json
import subprocess
import sys

import numpy as np
import pytest

from nlf_jax.data.batching import FILLER_INDEX, eval_batches, steps_per_epoch, train_batches
from nlf_jax.data.text.vocabulary import PADDING_ID
from nlf_jax.errors import UserError

BUCKETS = (4, 8, 16, 99)
SETTINGS = {"batch_size": 4, "buckets": BUCKETS}


@pytest.fixture
def sequences():
    lengths = np.random.default_rng(0).integers(1, 17, size=57)
    return [np.full(length, 2 + row, np.int32) for row, length in enumerate(lengths)]


def _take(iterator, num):
    return list(itertools.islice(iterator, num))


def _order(batches):
    return [row for batch in batches for row in batch.index.tolist() if row != FILLER_INDEX]


def _equal(a, b):
    return all(map(np.array_equal, a, b))


def test_every_row_once_per_epoch_in_an_order_of_its_own(sequences):
    steps = steps_per_epoch(sequences, **SETTINGS)
    batches = train_batches(sequences, **SETTINGS, seed=3)
    epochs = [_order(_take(batches, steps)) for _ in range(4)]
    for order in epochs:
        assert sorted(order) == list(range(len(sequences)))
    assert len(set(map(tuple, epochs))) == 4


def test_rows_meet_other_rows_and_buckets_alternate_in_each_epoch(sequences):
    steps = steps_per_epoch(sequences, **SETTINGS)
    batches = train_batches(sequences, **SETTINGS, seed=0)
    epochs = [_take(batches, steps) for _ in range(2)]
    groups = [{frozenset(b.index.tolist()) for b in epoch} for epoch in epochs]
    assert len(groups[0] & groups[1]) <= 2
    widths = [[batch.x.shape[1] for batch in epoch] for epoch in epochs]
    assert widths[0] != widths[1]
    assert widths[0] != sorted(widths[0])


def test_seed_decides_the_order(sequences):
    runs = [_take(train_batches(sequences, **SETTINGS, seed=s), 20) for s in (0, 0, 1)]
    assert all(map(_equal, runs[0], runs[1]))
    assert _order(runs[0]) != _order(runs[2])


def test_seed_decides_which_rows_meet(sequences):
    steps = steps_per_epoch(sequences, **SETTINGS)
    companies = [
        {frozenset(batch.index.tolist()) for batch in _take(iterator, steps)}
        for iterator in (train_batches(sequences, **SETTINGS, seed=seed) for seed in (0, 1))
    ]
    assert len(companies[0] & companies[1]) < steps // 2


def test_neighbouring_seeds_are_not_shifted_epochs(sequences):
    steps = steps_per_epoch(sequences, **SETTINGS)
    second_epoch = _take(train_batches(sequences, **SETTINGS, seed=0), 2 * steps)[steps:]
    first_epoch = _take(train_batches(sequences, **SETTINGS, seed=1), steps)
    assert _order(second_epoch) != _order(first_epoch)


def test_shapes_are_static_and_rows_are_padded_right(sequences):
    for batch in _take(train_batches(sequences, **SETTINGS, seed=0), 40):
        bucket = batch.x.shape[1]
        assert batch.x.shape == (4, bucket)
        assert batch.x.dtype == batch.lengths.dtype == batch.index.dtype == np.int32
        for x, length, row in zip(*batch, strict=True):
            assert (length == 0) == (row == FILLER_INDEX)
            if length:
                assert np.array_equal(x[:length], sequences[row])
                assert bucket == min(b for b in BUCKETS if b >= length)
            assert (x[length:] == PADDING_ID).all()


@pytest.mark.parametrize("step", [0, 1, 7, 17, 18, 40])
def test_resumes_bit_for_bit_at_any_step(sequences, step):
    batches = train_batches(sequences, **SETTINGS, seed=5)
    _take(batches, step)
    state = json.loads(json.dumps(batches.get_state()))
    expected = _take(batches, 25)
    resumed = train_batches(sequences, **SETTINGS, seed=5)
    _take(resumed, 3)
    resumed.set_state(state)
    assert all(map(_equal, expected, _take(resumed, 25)))


def test_eval_covers_every_row_once_and_is_deterministic(sequences):
    batches = list(eval_batches(sequences, **SETTINGS))
    assert sorted(_order(batches)) == list(range(len(sequences)))
    assert len(batches) == steps_per_epoch(sequences, **SETTINGS)
    assert all(map(_equal, batches, eval_batches(sequences, **SETTINGS)))
    fillers = sum((batch.index == FILLER_INDEX).sum() for batch in batches)
    assert fillers == 4 * len(batches) - len(sequences)


def test_at_most_one_partial_batch_per_bucket(sequences):
    partial = collections.Counter(
        batch.x.shape[1] for batch in eval_batches(sequences, **SETTINGS) if not batch.lengths.all()
    )
    assert partial
    assert max(partial.values()) == 1


def test_piano_rolls_get_a_dummy_first_column():
    rolls = [np.random.default_rng(t).random((t, 88)) < 0.3 for t in (3, 5)]
    (batch,) = eval_batches(rolls, batch_size=3, buckets=(6,))
    assert batch.x.shape == (3, 6, 89)
    assert batch.x.dtype == np.bool_
    assert not batch.x[..., 0].any()
    assert np.array_equal(batch.x[1, :5, 1:], rolls[1])
    assert batch.x.sum() == sum(roll.sum() for roll in rolls)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"buckets": ()}, "buckets"),
        ({"buckets": (8, 4, 16)}, "buckets"),
        ({"buckets": (0, 16)}, "buckets"),
        ({"buckets": (4, 8)}, "over the largest bucket 8"),
    ],
)
def test_bad_settings_are_refused(sequences, change, message):
    for batches in (eval_batches, steps_per_epoch):
        with pytest.raises(UserError, match=message):
            batches(sequences, **SETTINGS | change)


def test_bad_sequences_and_seeds_are_refused(sequences):
    with pytest.raises(UserError, match="no sequences"):
        train_batches([], **SETTINGS, seed=0)
    with pytest.raises(UserError, match="Sequence 57 is empty"):
        train_batches([*sequences, np.zeros(0, np.int32)], **SETTINGS, seed=0)
    with pytest.raises(UserError, match="seed"):
        train_batches(sequences, **SETTINGS, seed=-1)


def test_import_is_silent_and_without_tensorflow():
    code = (
        "import sys, nlf_jax.data.batching, nlf_jax.data.corpus; "
        "assert 'tensorflow' not in sys.modules"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
