"""Length priors and positions against the authors' numbers."""

import numpy as np
import pytest

from nlf_jax.data.lengths import length_log_prob
from nlf_jax.nn.position import position_one_hot
from tests.golden.golden import Golden


@pytest.fixture
def tables(golden_dir):
    return Golden(golden_dir / "tables.npz")


@pytest.mark.parametrize("kind", ["cat", "bern"])
def test_length_prior(tables, kind):
    lengths = np.concatenate([tables["in"][f"T_{kind}_{split}"] for split in ("train", "val")])
    longest = int(1.25 * lengths.max()) if kind == "bern" else lengths.max()
    assert longest == tables["out"][f"T_{kind}_max_T"]
    ours = length_log_prob(lengths, longest, smoothing=kind == "bern")
    np.testing.assert_allclose(ours, tables["out"][f"T_{kind}_log_p_T"], rtol=2e-7)


def test_positions(tables):
    """Ours are all zero past the end, where theirs have a one; no value depends on it."""
    given, theirs = tables["in"], tables["out"]["pos_cond"]
    for row, length in enumerate(given["pos_lengths"]):
        ours = position_one_hot(length, int(given["pos_T"]), int(given["pos_max_T"]))
        np.testing.assert_array_equal(ours[:length], theirs[:length, row])
