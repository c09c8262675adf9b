import numpy as np
import pytest

from nlf_jax.data.lengths import length_log_prob
from nlf_jax.errors import UserError


@pytest.mark.parametrize(("kind", "smoothing"), [("cat", False), ("bern", True)])
def test_agrees_with_the_authors(golden_dir, kind, smoothing):
    with np.load(golden_dir / "tables.npz") as tables:
        lengths = np.concatenate([tables[f"in/T_{kind}_{s}"] for s in ("train", "val")])
        expected = tables[f"out/T_{kind}_log_p_T"]
        max_length = int(tables[f"out/T_{kind}_max_T"])
    actual = length_log_prob(lengths, max_length, smoothing)
    assert actual.dtype == np.float32
    assert actual.shape == expected.shape
    np.testing.assert_array_equal(np.isneginf(actual), np.isneginf(expected))
    np.testing.assert_allclose(actual, expected, rtol=2e-7)


@pytest.mark.parametrize("smoothing", [False, True])
def test_sums_to_one(smoothing):
    log_prob = length_log_prob(np.array([1, 3, 3, 5]), 8, smoothing)
    assert np.exp(log_prob).sum() == pytest.approx(1, abs=1e-6)
    assert np.isfinite(log_prob).sum() == (9 if smoothing else 3)


@pytest.mark.parametrize("lengths", [[], [9], [-1, 2]])
def test_lengths_that_do_not_fit_are_refused(lengths):
    with pytest.raises(UserError):
        length_log_prob(np.array(lengths, dtype=np.int32), 8, smoothing=False)
