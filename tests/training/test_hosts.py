import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from nlf_jax.errors import UserError
from nlf_jax.files import read_rows
from nlf_jax.sampling import sample
from nlf_jax.training import evaluate, hosts
from nlf_jax.training.arrays import to_arrays
from tests.robustness.victims import Victims, end_of, newest_step, rows_of

SCRIPT = Path(__file__).with_name("two_processes.py")
CLOSE = {"rtol": 2e-5, "atol": 2e-6}
# Four processes start here; a busy machine takes minutes for that.
pytestmark = pytest.mark.timeout(600)


def free_port():
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


@contextlib.contextmanager
def killed_at_the_end(processes):
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()


def start(process, coordinator, directory):
    options = ["-q", "-p", "no:xdist", "-o", "addopts=--import-mode=importlib"]
    names = {"PROCESS": process, "COORDINATOR": coordinator, "DIRECTORY": directory}
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, str(SCRIPT)],
        env=os.environ
        | {f"NLF_TEST_{name}": str(value) for name, value in names.items()}
        | {"JAX_NUM_CPU_DEVICES": "2", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        cwd=SCRIPT.parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """What two processes left behind, which trained half a run."""
    path = tmp_path_factory.mktemp("hosts")
    coordinator = f"127.0.0.1:{free_port()}"
    with killed_at_the_end([start(number, coordinator, path) for number in (0, 1)]) as processes:
        texts = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(texts)[-9000:]
    return path


@pytest.fixture(scope="module")
def one(make_config, make_trainer, changes, tmp_path_factory):
    """The whole run on one device."""
    path = tmp_path_factory.mktemp("one")
    trainer = make_trainer(make_config("af_scf", **changes), path, num_devices=1)
    trainer.run()
    return path, trainer


@pytest.fixture(scope="module")
def resume(directory, make_config, make_trainer, changes):
    """Makes the trainer that goes on with the run on one device."""
    config = make_config("af_scf", **changes)
    return lambda: make_trainer(config, directory / "0", num_devices=1)


def test_scores_and_samples_are_those_of_one_process(directory, resume, corpus):
    resumed = resume()
    resumed.run(lambda: True)
    found = [dict(np.load(directory / f"found_{number}.npz")) for number in (0, 1)]
    # Stopped at the first question after step 5 that the processes put to each other.
    assert resumed.step == found[0]["step"] == found[1]["step"] == 7
    model, key = resumed.state.model, jax.random.key(5)
    options = {"batch_size": 8, "buckets": (9,)}
    scores = evaluate.score(model, corpus.splits["test"], key, **options)
    samples = sample(model, key, num_samples=3)
    for each in found:
        np.testing.assert_array_equal(each["lengths"], samples.lengths)
        np.testing.assert_array_equal(each["symbols"], samples.symbols)
        np.testing.assert_allclose(each["scores"], np.stack(scores[:-1]), **CLOSE)


def test_half_a_run_in_two_processes_and_half_in_one_ends_as_on_one_device(directory, resume, one):
    resumed = resume()
    assert resumed.step == 7
    assert resumed.run()
    expected, found = to_arrays(one[1].state), to_arrays(resumed.state)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, **CLOSE, err_msg=name)
    rows = [read_rows(path / "metrics.jsonl") for path in (one[0], directory / "0")]
    losses = [[row["bpc"] for row in each] for each in rows]
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-5)


def test_only_process_0_writes(directory):
    assert not list((directory / "1").iterdir())


def test_a_signal_to_one_process_stops_both(tmp_path):
    victims, coordinator = Victims(tmp_path), f"--coordinator=127.0.0.1:{free_port()}"
    flags = ["--model=lstm", "--config.num_epochs=100000", coordinator, "--num_processes=2"]
    workdirs = [tmp_path / "0", tmp_path / "1"]
    processes = [
        victims.start(workdir, *flags, f"--process_id={number}")
        for number, workdir in enumerate(workdirs)
    ]
    with killed_at_the_end(processes):
        while processes[0].poll() is None and not rows_of(workdirs[0]):
            time.sleep(0.01)
        processes[1].send_signal(signal.SIGTERM)
        ended = [end_of(process) for process in processes]
    assert [each.code for each in ended] == [0, 0], ended
    saved = re.search(r"Another process was told to stop: saved after step (\d+)", ended[0].out)
    assert newest_step(workdirs[0]) == int(saved[1])
    assert not workdirs[1].exists()


def test_a_coordinator_that_nobody_is_at():
    call = f"hosts.connect('127.0.0.1:{free_port()}', 2, 1)"
    code = f"from nlf_jax.training import hosts; hosts.CONNECT_SECONDS = 1; {call}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert "UserError: the processes did not all meet at" in done.stderr.splitlines()[-1]


def test_a_port_that_is_taken():
    with socket.create_server(("", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(UserError, match="process 0 cannot listen at port"):
            hosts.connect(address, 2, 0)
