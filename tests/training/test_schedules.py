import itertools
import math

import numpy as np
import pytest

from nlf_jax.training import schedules
from nlf_jax.training.schedules import Plateau


@pytest.mark.parametrize(("zero", "ramp"), [(4, 10), (20, 15), (0, 5)])
def test_kl_weight_and_end_of_ramp_are_the_authors(golden_dir, zero, ramp):
    table = np.load(golden_dir / "tables.npz")[f"out/kl_zero{zero}_ramp{ramp}"]
    # The authors' epoch i ends with weight(i), and their zero epochs are counted from -1.
    ramp_of_ours = {"zero_epochs": zero + 1, "ramp_epochs": ramp}
    weights = [schedules.kl_weight(i + 1, **ramp_of_ours) for i in table[:, 0]]
    np.testing.assert_allclose(weights, table[:, 1], rtol=1e-12)
    done = [schedules.ramp_is_over(int(i), **ramp_of_ours) for i in table[1:, 0]]
    np.testing.assert_array_equal(done, table[1:, 2] == 1)


def test_kl_weight_without_ramp_is_the_authors(golden_dir):
    table = np.load(golden_dir / "tables.npz")["out/kl_zero0_ramp0"]
    none = {"zero_epochs": 0, "ramp_epochs": 0}
    assert [schedules.kl_weight(i + 1, **none) for i in table[:, 0]] == list(table[:, 1])
    assert all(schedules.ramp_is_over(int(i), **none) for i in table[1:, 0])


def test_kl_weight_interpolates_within_an_epoch():
    ramp = {"zero_epochs": 5, "ramp_epochs": 10}
    between = schedules.kl_weight(6.25, **ramp)
    ends = schedules.kl_weight(6, **ramp), schedules.kl_weight(7, **ramp)
    assert between == pytest.approx(0.75 * ends[0] + 0.25 * ends[1], rel=1e-12)


def test_kl_weight_takes_fractions_of_an_epoch():
    weights = [schedules.kl_weight(e, zero_epochs=0.25, ramp_epochs=0.5) for e in (0.25, 0.5, 0.75)]
    assert weights == pytest.approx([1e-5, 0.5 + 0.5e-5, 1.0])
    assert not schedules.ramp_is_over(0, zero_epochs=0.25, ramp_epochs=0.5)
    assert schedules.ramp_is_over(1, zero_epochs=0.25, ramp_epochs=0.5)


def test_plateau_divides_after_patience_bad_epochs_and_stops_at_the_floor():
    plateau, rates = Plateau(1.0), []
    for loss in (3.0, 2.0, 2.5, 2.5, 1.5, 1.6, math.nan, 1.7, 1.8, 1.9, 2.0):
        plateau = schedules.update_plateau(plateau, loss, patience=2, floor=0.05)
        rates.append(plateau.learning_rate)
    assert rates == [1, 1, 1, 0.25, 0.25, 0.25, 0.0625, 0.0625, 0.05, 0.05, 0.05]
    assert plateau.best_loss == 1.5


def test_cosine_warms_up_peaks_and_ends_near_zero():
    rates = [schedules.cosine_learning_rate(s, num_steps=100, peak=2.0) for s in range(100)]
    assert rates[:3] == [1.0, 2.0, 2.0]
    assert all(a > b for a, b in itertools.pairwise(rates[2:]))
    assert 0 < rates[-1] < 2e-3
