"""Runs killed and stopped from outside end as if nothing had happened; `make torture` does more."""

import random
import re
import shutil
import signal

import pytest

from tests.robustness.victims import Victims, different_end, newest_step

# Some twenty processes are started one after another; a busy machine takes minutes for that.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def victims(tmp_path_factory):
    return Victims(tmp_path_factory.mktemp("victims"))


@pytest.fixture(scope="module")
def undisturbed(victims, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed")
    ended = victims.run(workdir)
    assert "Trained" in ended.out, ended.err
    return workdir


def test_sigkill_at_random_moments_changes_nothing(victims, undisturbed, tmp_path):
    delays = random.Random()
    codes = [
        victims.interrupt(tmp_path, signal.SIGKILL, delays.uniform(0, 0.3)).code for _ in range(3)
    ]
    assert -signal.SIGKILL in codes
    ended = victims.run(tmp_path)
    assert "going on after step" in ended.out, ended.err
    assert different_end(tmp_path, undisturbed) is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_saves_and_ends_cleanly(victims, undisturbed, tmp_path, number):
    ended = victims.interrupt(tmp_path, number, 0.0)
    assert (ended.code, ended.err) == (0, "")
    text = rf"{number.name}: saved after step (\d+)\. Go on with the same command"
    saved = re.search(text, ended.out)[1]
    assert newest_step(tmp_path) == int(saved)
    ended = victims.run(tmp_path)
    assert f"going on after step {saved}" in ended.out, ended.err
    assert different_end(tmp_path, undisturbed) is None


def test_a_different_end_is_noticed(undisturbed, tmp_path):
    copy = shutil.copytree(undisturbed, tmp_path / "copy")
    assert different_end(copy, undisturbed) is None
    first_row = (copy / "metrics.jsonl").read_text().splitlines()[0]
    with (copy / "metrics.jsonl").open("a") as file:
        file.write(first_row + "\n")
    assert different_end(copy, undisturbed).startswith("metrics have steps twice")
    shutil.rmtree(copy / f"checkpoints/{newest_step(copy)}")
    assert different_end(copy, undisturbed).startswith("ended at step")
