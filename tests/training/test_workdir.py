import os
import subprocess
import sys

import pytest

from nlf_jax.errors import UserError
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
    ("name", "content", "message"),
    [
        ("config.json", '{"my": "settings"}', "config.json is damaged: restore it or train in an"),
        ("config.json", "1", "config.json is damaged"),
        ("vocabulary.json", '["a", "b"]', "vocabulary.json is of no run: .* expected a list of"),
    ],
)
def test_files_that_are_no_runs_are_not_overwritten(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        workdir.claim(tmp_path, RUN, None)
    assert (tmp_path / name).read_text() == content


@pytest.mark.parametrize(
    ("other", "vocabulary", "message"),
    [
        (changed("config", hidden=8), "[]", r"config.hidden: 4 -> 8\."),
        (changed("config", extra=1), "[]", r"config.extra: None -> 1\."),
        (changed("data", fingerprint="g"), "[]", r"data.fingerprint: f -> g\."),
        (RUN | {"experiment": "x"}, "[]", r"experiment: e -> x\."),
        (RUN, '["a"]', "another vocabulary"),
        (changed("data", vocabulary="d"), '["a"]', r"here\): vocabulary.json: another vocabulary"),
    ],
)
def test_another_run_is_refused_with_the_difference(claimed, other, vocabulary, message):
    before = (claimed / "config.json").read_text()
    with pytest.raises(UserError, match=message):
        workdir.claim(claimed, other, vocabulary)
    assert (claimed / "config.json").read_text() == before


def test_all_options_but_these_make_another_run():
    free = {"num_epochs", "log_every", "checkpoint_every", "nll_samples", "eval_batch_size"}
    for name in options_of(TrainConfig):
        found = workdir.differences({"config": {name: 1}}, {"config": {name: 2}})
        assert found == ([] if name in free else [f"config.{name}: 1 -> 2"])


def test_tied_is_of_no_matter_where_there_are_no_output_weights(tmp_path):
    sizes = {"embedding": 8, "hidden": 16, "posterior": "factorised"}
    for tied in (True, False):
        config = TrainConfig(model="af_scf", tied=tied, **sizes)
        workdir.claim(tmp_path, RUN | {"config": vars(config)}, "[]")
        (tmp_path / "checkpoints/5").mkdir(parents=True, exist_ok=True)
    for changes in ({"model": "lstm"}, {"posterior": "bilstm"}, {"emission": "bernoulli"}):
        with pytest.raises(UserError, match="embedding=8 and hidden=16"):
            TrainConfig(**{"model": "af_scf", "tied": True} | sizes | changes)


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


def test_of_two_that_take_the_lock_one_is_refused(tmp_path):
    refused = pytest.raises(UserError, match="another process trains in")
    with workdir.lock(tmp_path), refused, workdir.lock(tmp_path):
        pass


def test_workdir_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match="cannot write to the workdir"),
        workdir.lock(tmp_path / "file/run"),
    ):
        pass


@pytest.mark.parametrize("name", ["lock", "config.json", "vocabulary.json"])
def test_a_fifo_is_refused_and_not_waited_for(claimed, name):
    (claimed / name).unlink(missing_ok=True)
    os.mkfifo(claimed / name)
    with pytest.raises(UserError, match=rf"{name} is no file"), workdir.lock(claimed):
        workdir.claim(claimed, RUN, "[]")


def test_the_lock_does_not_empty_what_a_link_leads_to(claimed):
    (claimed / "lock").symlink_to("config.json")
    with workdir.lock(claimed):
        pass
    assert workdir.read_description(claimed)["experiment"] == "e"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": ' * 500 + "1" + "}" * 500, "is damaged"),
        ('{"a": ' * 100_000, "is damaged"),
        (
            '{"format": 1, "experiment": "", "config": {}, "data": {"frame_seconds": 1e999}}',
            "is da",
        ),
        ('{"format": 1, "experiment": "", "config": {}, "data": {"name": []}}', "is damaged"),
        ('{"format": 1, "experiment": "", "config": {}, "data": NaN}', "is damaged"),
        (b'{"format": 1, "experiment": "\xff"}', "is damaged"),
        (" " * 1_000_001, "has 1,000,001 bytes or more; the most"),
    ],
    ids=["deep", "deeper", "frames", "name", "constant", "bytes", "large"],
)
def test_a_description_that_is_none_is_one_line(claimed, content, message):
    (claimed / "config.json").write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UserError, match=rf"config\.json {message}"):
        workdir.read_description(claimed)


def test_a_description_of_gigabytes_is_not_read(claimed):
    with open(claimed / "config.json", "r+b") as file:
        file.truncate(8 * 10**9)
    with pytest.raises(UserError, match="has 8,000,000,000 bytes"):
        workdir.read_description(claimed)


def test_what_differs_is_told_shortly(claimed):
    other = RUN | {"data": {f"{n}": "x" * 1000 for n in range(1000)}}
    with pytest.raises(UserError) as caught:
        workdir.claim(claimed, other, "[]")
    assert len(str(caught.value)) < 10_000


def test_a_link_to_a_bigger_disk_is_taken_where_the_user_says_so(claimed, monkeypatch):
    disk, elsewhere = claimed.parent / "disk", claimed.parent / "elsewhere"
    (claimed / "checkpoints").rename(disk)
    (claimed / "checkpoints").symlink_to(disk)
    with pytest.raises(UserError, match=r"link to outside .* set NLF_LINKS_INTO to a folder"):
        workdir.check_workdir(claimed)
    monkeypatch.setenv(workdir.LINKS_VARIABLE, f"/nowhere:{disk}")
    workdir.check_workdir(claimed)
    assert workdir.step_numbers(claimed / "checkpoints") == [5]
    elsewhere.mkdir()
    (disk / "6").symlink_to(elsewhere)
    with pytest.raises(UserError, match=r"checkpoints/6 is a link to outside"):
        workdir.check_workdir(claimed)


def test_only_what_orbax_names_is_a_step(tmp_path):
    for name in ("3", "07", "\u0665", "1" * 30, "4.tmp", "12"):
        (tmp_path / name).mkdir()
    (tmp_path / "9").write_text("")
    assert workdir.step_numbers(tmp_path) == [3, 12]
