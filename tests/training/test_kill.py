"""Runs killed and stopped from outside end as if nothing had happened."""

import os
import random
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from nlf_jax.training.metrics import read_rows
from nlf_jax.training.reading import read_parts
from nlf_jax.training.workdir import step_numbers

# Some twenty processes are started one after another; a busy machine takes minutes for that.
pytestmark = pytest.mark.timeout(900)
NUM_EPOCHS = 10
FLAGS = ("--size=tiny", "--config.checkpoint_every=2", f"--config.num_epochs={NUM_EPOCHS}")


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """Starts a training run of many short steps in a workdir."""
    directory = tmp_path_factory.mktemp("killed")
    draw = random.Random(5)
    lines = ["".join(draw.choices("abcdef", k=draw.randint(1, 15))) for _ in range(180)]
    (directory / "lines.txt").write_text("\n".join(lines))
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

    def start(workdir):
        text_file = f"--text_file={directory / 'lines.txt'}"
        return subprocess.Popen(
            [sys.executable, "-m", "experiments.text", text_file, f"--workdir={workdir}", *FLAGS],
            cwd=root,
            env=os.environ | {"NLF_CACHE_DIR": str(directory / "cache")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture(scope="module")
def undisturbed(command, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed")
    out, err = command(workdir).communicate(timeout=250)
    assert "Trained" in out, err
    return workdir


def interrupt(command, workdir, number, delay):
    """Sends a signal some time after the run began to take steps."""
    process = command(workdir)
    seen = len(rows_of(workdir))
    while process.poll() is None and len(rows_of(workdir)) <= seen:
        time.sleep(0.01)
    time.sleep(delay)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def rows_of(workdir):
    path = workdir / "metrics.jsonl"
    return read_rows(path) if path.exists() else []


def assert_same_end(workdir, expected):
    last = step_numbers(expected / "checkpoints")[-1]
    assert step_numbers(workdir / "checkpoints")[-1] == last
    parts, expected_parts = (
        read_parts(path / "checkpoints", last, ("model", "train", "meta"))
        for path in (workdir, expected)
    )
    for item in ("model", "train"):
        assert parts[item].keys() == expected_parts[item].keys()
        for name, value in parts[item].items():
            assert np.array_equal(value, expected_parts[item][name]), name
    assert valid_losses(workdir) == valid_losses(expected)
    steps = [row["step"] for row in rows_of(workdir) if row["split"] == "train"]
    assert steps == sorted(set(steps))


def valid_losses(workdir):
    return [row["loss"] for row in rows_of(workdir) if row["split"] == "valid"]


def test_sigkill_at_random_moments_changes_nothing(command, undisturbed, tmp_path):
    delays = random.Random()
    kills = 0
    for _ in range(3):
        code, _, _ = interrupt(command, tmp_path, signal.SIGKILL, delays.uniform(0, 0.3))
        kills += code == -signal.SIGKILL
    assert kills
    out, err = command(tmp_path).communicate(timeout=250)
    assert "going on after step" in out, err
    assert_same_end(tmp_path, undisturbed)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_saves_and_ends_cleanly(command, undisturbed, tmp_path, number):
    code, out, err = interrupt(command, tmp_path, number, 0.0)
    assert (code, err) == (0, "")
    saved = re.search(rf"{number.name}: saved after step (\d+)\. Go on with the same command", out)
    assert step_numbers(tmp_path / "checkpoints")[-1] == int(saved[1])
    out, err = command(tmp_path).communicate(timeout=250)
    assert f"going on after step {saved[1]}" in out, err
    assert_same_end(tmp_path, undisturbed)
