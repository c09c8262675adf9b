"""Preparing piano rolls in processes of their own, for others to kill and starve."""

import subprocess
from pathlib import Path

import numpy as np
import scipy.io

from nlf_jax.data.music.mat_file import KEYS
from nlf_jax.data.music.polyphonic import NAMES
from tests.robustness.victims import start_python

DATASET = "jsb_chorales"
# A mistake is one line, as at the command line; else the fingerprint of the data.
_PROGRAM = f"""
import sys
from nlf_jax.cli.exit_codes import exit_code
from nlf_jax.data.music.polyphonic import load_polyphonic
print("ready", flush=True)
sys.exit(exit_code(lambda: print(load_polyphonic("{DATASET}", sys.argv[1]).fingerprint)))
"""


def write_source(directory: Path) -> None:
    """A data set of random rolls, of about a megabyte when prepared."""
    draw = np.random.default_rng(0)
    variables = {}
    for name in KEYS.values():
        cells = np.empty((1, 60), object)
        cells[0, :] = [(draw.random((400, 88)) < 0.3).astype(np.uint8) for _ in range(60)]
        variables[name] = cells
    directory.mkdir()
    scipy.io.savemat(directory / NAMES[DATASET], variables, do_compression=True)


def start(source: Path, cache: Path, file_bytes: int | None = None) -> subprocess.Popen:
    """Starts reading the set, which prepares it unless the cache has it; waits for the imports."""
    process = start_python(["-c", _PROGRAM, str(source)], cache, file_bytes)
    if process.stdout is not None:
        process.stdout.readline()
    return process
