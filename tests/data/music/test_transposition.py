import itertools

import numpy as np
import pytest

from nlf_jax.data.batching import train_batches
from nlf_jax.data.music.transposition import transpose
from nlf_jax.errors import UserError

SETTINGS = {"batch_size": 3, "buckets": (4, 8), "seed": 1}


def roll_of(*keys, length=3):
    roll = np.zeros((length, 88), bool)
    roll[1, list(keys)] = True
    return roll


@pytest.mark.parametrize(
    ("keys", "shift", "expected"),
    [
        ((3, 40), 2, (5, 42)),
        ((3, 40), -3, (0, 37)),
        ((3, 40), -4, (0, 37)),
        ((50, 85), 2, (52, 87)),
        ((50, 85), 12, (52, 87)),
        ((0, 87), 5, (0, 87)),
        ((), 5, ()),
    ],
)
def test_notes_move_together_and_stay_on_the_keyboard(keys, shift, expected):
    np.testing.assert_array_equal(transpose(roll_of(*keys), shift), roll_of(*expected))


@pytest.fixture(scope="module")
def rolls():
    """Ten rolls far from both ends, whose lowest key is 40 and frame 1 tells the row."""
    return [roll_of(40, 41 + row, length=2 + row % 5) for row in range(10)]


def take(rolls, num, **options):
    return list(itertools.islice(train_batches(rolls, **SETTINGS, **options), num))


def shifts(batches, rolls):
    """(row, shift) of every row in order; checks that the row is moved as a whole."""
    found = []
    for batch in batches:
        for x, length, row in zip(*batch, strict=True):
            if length:
                shift = np.flatnonzero(x.any(0))[0] - 41
                expected = np.roll(rolls[row], shift, axis=1)
                np.testing.assert_array_equal(x[:length, 1:], expected)
            assert not x[length:].any()
            assert not x[:, 0].any()
            found += [(row, shift)] if length else []
    return found


def test_every_row_gets_a_new_shift_each_time(rolls):
    plain, moved = take(rolls, 50), take(rolls, 50, transpose=3)
    for a, b in zip(plain, moved, strict=True):
        np.testing.assert_array_equal(a.index, b.index)
    drawn = np.array(shifts(moved, rolls))
    assert {shift for _, shift in shifts(plain, rolls)} == {0}
    assert set(drawn[:, 1]) == {-3, -2, -1, 0, 1, 2, 3}
    for row in range(10):
        assert len(set(drawn[drawn[:, 0] == row, 1])) > 3


@pytest.mark.parametrize("step", [0, 5, 13])
def test_resumes_with_the_same_shifts(rolls, step):
    whole = take(rolls, 30, transpose=3)
    first = train_batches(rolls, **SETTINGS, transpose=3)
    for _ in range(step):
        next(first)
    resumed = train_batches(rolls, **SETTINGS, transpose=3)
    resumed.set_state(first.get_state())
    for expected in whole[step:]:
        np.testing.assert_array_equal(next(resumed).x, expected.x)


def test_text_is_not_transposed():
    with pytest.raises(UserError, match="only piano rolls"):
        train_batches([np.zeros(3, np.int32)], **SETTINGS, transpose=1)
