import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from nlf_jax.mesh import make_mesh, shard_rows


@pytest.mark.timeout(900)
def test_eight_devices():
    """Eight devices can only be had by a process that starts with them."""
    script = Path(__file__).with_name("eight_devices.py")
    options = ["-q", "-p", "no:xdist", "-o", "addopts=--import-mode=importlib"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(script)],
        env=os.environ | {"JAX_NUM_CPU_DEVICES": "8", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        cwd=script.parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


def test_rows_that_divide_evenly_stay_as_they_are():
    x, lengths = np.arange(6, dtype=np.int32).reshape(3, 2), np.array([2, 1, 2], np.int32)
    sharded = shard_rows(x, lengths, make_mesh(1))
    np.testing.assert_array_equal(sharded[0], x)
    np.testing.assert_array_equal(sharded[1], lengths)


def test_random_numbers_do_not_depend_on_the_number_of_rows():
    """So that filler rows, added to divide a batch evenly, change nothing."""
    key = jax.random.key(1)
    few, many = (jax.random.normal(key, (rows, 3)) for rows in (5, 8))
    np.testing.assert_array_equal(few, many[:5])
    keys = [jax.random.key_data(jax.random.split(key, rows)) for rows in (5, 8)]
    np.testing.assert_array_equal(keys[0], keys[1][:5])
