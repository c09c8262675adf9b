import json
import subprocess
import sys

import pytest

from nlf_jax.errors import UserError
from nlf_jax.training import workdir

RUN = {"experiment": "e", "config": {"hidden": 4, "num_epochs": 2}, "data": {"fingerprint": "f"}}


def changed(section, **values):
    return RUN | {section: RUN[section] | values}


def test_claim_twice_with_a_change_that_does_not_matter(tmp_path):
    workdir.claim(tmp_path, RUN, "[]")
    workdir.claim(tmp_path, changed("config", num_epochs=9), "[]")
    assert workdir.read_description(tmp_path)["config"]["num_epochs"] == 9
    assert workdir.read_vocabulary(tmp_path) == "[]"


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
def test_another_run_is_refused_with_the_difference(tmp_path, other, vocabulary, message):
    workdir.claim(tmp_path, RUN, "[]")
    before = (tmp_path / "config.json").read_text()
    with pytest.raises(UserError, match=message):
        workdir.claim(tmp_path, other, vocabulary)
    assert (tmp_path / "config.json").read_text() == before


def test_checkpoints_without_config_are_refused(tmp_path):
    (tmp_path / "checkpoints").mkdir()
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
    workdir.write_atomically(path, json.dumps(1))
    (tmp_path / "a.json.tmp").mkdir()
    with pytest.raises(UserError, match="cannot write"):
        workdir.write_atomically(path, json.dumps(2))
    assert path.read_text() == "1"
