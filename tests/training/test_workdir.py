import json
import subprocess
import sys

import pytest

from nlf_jax.errors import UserError
from nlf_jax.files import write_atomically
from nlf_jax.options import options_of
from nlf_jax.training import workdir
from nlf_jax.training.config import TrainConfig

RUN = {"experiment": "e", "config": {"hidden": 4, "num_epochs": 2}, "data": {"fingerprint": "f"}}
# What runs of format 1 may lack.
LATER = {n: o.default for n, o in options_of(TrainConfig).items() if o.since > 1}


def changed(section, **values):
    return RUN | {section: RUN[section] | values}


@pytest.fixture
def claimed(tmp_path):
    """The workdir of a run that has a checkpoint."""
    workdir.claim(tmp_path, RUN, "[]")
    (tmp_path / "checkpoints/5").mkdir(parents=True)
    return tmp_path


def test_claim_twice_with_a_change_that_does_not_matter(claimed):
    workdir.claim(claimed, changed("config", num_epochs=9), "[]")
    assert workdir.read_description(claimed)["config"]["num_epochs"] == 9
    assert workdir.read_vocabulary(claimed) == "[]"


def test_without_a_checkpoint_any_run_may_have_the_workdir(tmp_path):
    workdir.claim(tmp_path, RUN, "[]")
    workdir.claim(tmp_path, changed("config", hidden=8), None)
    assert workdir.read_description(tmp_path)["config"]["hidden"] == 8
    assert workdir.read_vocabulary(tmp_path) is None


@pytest.mark.parametrize(
    ("other", "vocabulary", "message"),
    [
        (changed("config", hidden=8), "[]", r"config.hidden: 4 -> 8\."),
        (changed("config", extra=1), "[]", r"config.extra: None -> 1\."),
        (changed("data", fingerprint="g"), "[]", r"data.fingerprint: f -> g\."),
        (RUN | {"experiment": "x"}, "[]", r"experiment: e -> x\."),
        (RUN, '["a"]', "another vocabulary"),
    ],
)
def test_another_run_is_refused_with_the_difference(claimed, other, vocabulary, message):
    before = (claimed / "config.json").read_text()
    with pytest.raises(UserError, match=message):
        workdir.claim(claimed, other, vocabulary)
    assert (claimed / "config.json").read_text() == before


@pytest.fixture
def older(claimed):
    path = claimed / "config.json"
    path.write_text(path.read_text().replace(f'"format": {workdir.FORMAT}', '"format": 1'))
    return claimed


def test_a_run_older_than_an_option_goes_on_with_what_it_did(older):
    workdir.claim(older, changed("config", **LATER), "[]")
    assert workdir.read_description(older)["config"]["recurrence"] == "lstm"
    assert workdir.read_description(older)["format"] == workdir.FORMAT


def test_a_run_older_than_an_option_is_another_than_one_that_uses_it(older):
    with pytest.raises(UserError, match=r"config.recurrence: lstm -> gated\."):
        workdir.claim(older, changed("config", **LATER | {"recurrence": "gated"}), "[]")


def test_checkpoints_without_config_are_refused(tmp_path):
    (tmp_path / "checkpoints/5").mkdir(parents=True)
    with pytest.raises(UserError, match=r"has checkpoints but no config\.json"):
        workdir.claim(tmp_path, RUN, None)


def test_second_process_is_refused_and_the_lock_dies_with_its_owner(tmp_path):
    script = (
        "import fcntl, sys\nfile = open(sys.argv[1], 'w')\nfcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('locked', flush=True)\nsys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "lock")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout.readline() == "locked\n"
        with pytest.raises(UserError, match="another process trains in"), workdir.lock(tmp_path):
            pass
        owner.kill()
        owner.wait()
        with workdir.lock(tmp_path):
            pass


def test_workdir_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match="cannot write to the workdir"),
        workdir.lock(tmp_path / "file/run"),
    ):
        pass


def test_write_atomically_leaves_the_old_file_when_it_fails(tmp_path):
    path = tmp_path / "a.json"
    write_atomically(path, json.dumps(1))
    (tmp_path / "a.json.tmp").mkdir()
    with pytest.raises(UserError, match="cannot write"):
        write_atomically(path, json.dumps(2))
    assert path.read_text() == "1"
