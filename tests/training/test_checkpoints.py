import contextlib
import errno
import json
import os
import re
import resource
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorstore as ts

from nlf_jax.errors import UserError
from nlf_jax.models import SequenceModel
from nlf_jax.training import checkpoint_reading, checkpoints, loading, record, workdir
from nlf_jax.training.arrays import digest, from_arrays, to_arrays
from nlf_jax.training.checkpoints import CheckpointStore
from nlf_jax.training.progress import HostState
from nlf_jax.training.schedules import Plateau
from nlf_jax.training.state import TrainState


def make_state(value):
    """A state of the right shape around a small stand-in for a network."""
    network = {"weight": jnp.full((300,), value), "bias": jnp.zeros(2)}
    zero = jnp.zeros((), jnp.int32)
    return TrainState(
        model=SequenceModel(network=network, length_log_prob=jnp.zeros(4)),
        raw={"weight": jnp.full((300,), value + 0.5), "bias": jnp.ones(2)},
        opt_state=(jnp.full((300,), -value),),
        step=zero + int(value),
        key=jax.random.key(3),
        skipped=zero,
        skipped_in_a_row=zero,
    )


def save(path, *values):
    store = CheckpointStore(path)
    for value in values:
        store.save(value, make_state(float(value)), {"number": value})
    store.wait()
    store.close()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A workdir with whole checkpoints 1 and 2."""
    path = tmp_path_factory.mktemp("two")
    save(path, 1, 2)
    return path


@pytest.fixture
def saved(two, tmp_path):
    """A copy of it."""
    return shutil.copytree(two, tmp_path / "saved")


def restore(path):
    store = CheckpointStore(path)
    try:
        return store.restore_newest(make_state(0.0))
    finally:
        store.close()


def assert_is(restored, value):
    assert restored.step == value
    assert restored.meta == {"number": value}
    expected, found = to_arrays(make_state(float(value))), to_arrays(restored.state)
    assert digest(expected) == digest(found)


def test_round_trip_keeps_the_newest_three(tmp_path):
    save(tmp_path, 1, 2, 3, 4)
    assert workdir.step_numbers(tmp_path / "checkpoints") == [2, 3, 4]
    assert_is(restore(tmp_path), 4)


def test_keeps_the_best(tmp_path, caplog):
    store = CheckpointStore(tmp_path)
    for value in range(1, 7):
        store.save(value, make_state(float(value)), {})
        store.wait()
        if value == 2:
            store.write_best(value, 1.5)
    store.close()
    assert workdir.step_numbers(tmp_path / "checkpoints") == [2, 4, 5, 6]
    assert checkpoints.read_best_step(tmp_path) == 2
    for damage in ("", "{", "[]", '{"step": Infinity}', '{"step": "x"}', "[" * 10_000):
        (tmp_path / "best.json").write_text(damage)
        caplog.clear()
        assert checkpoints.read_best_step(tmp_path) is None
        assert "best.json is damaged" in caplog.text


def test_saved_step_is_not_saved_again(tmp_path):
    store = CheckpointStore(tmp_path)
    store.save(1, make_state(1.0), {"number": 1})
    store.save(1, make_state(2.0), {"number": 2})
    store.close()
    assert_is(restore(tmp_path), 1)


def test_saving_copies_the_state(tmp_path):
    store = CheckpointStore(tmp_path)
    state = make_state(1.0)
    store.save(1, state, {"number": 1})
    advance = jax.jit(lambda s: jax.tree.map(lambda x: x * 0, s.model), donate_argnums=0)
    jax.block_until_ready(advance(state))
    store.close()
    assert_is(restore(tmp_path), 1)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [flip, truncate, lambda path: path.unlink()])
def test_every_file_that_is_damaged_is_noticed_or_not_needed(tmp_path, damage, caplog):
    save(tmp_path / "whole", 1, 2)
    newest = tmp_path / "whole/checkpoints/2"
    files = sorted(p.relative_to(newest) for p in newest.rglob("*") if p.is_file())
    noticed = 0
    for number, file in enumerate(files):
        copy = tmp_path / str(number)
        shutil.copytree(tmp_path / "whole", copy)
        damage(copy / "checkpoints/2" / file)
        restored = restore(copy)
        assert_is(restored, restored.step)
        if restored.step == 1:
            noticed += 1
            assert (copy / "damaged_checkpoints/2").is_dir()
            assert workdir.step_numbers(copy / "checkpoints") == [1]
    assert noticed >= 4
    assert caplog.text.count("is damaged") == noticed


def test_a_step_set_aside_can_be_saved_again(tmp_path):
    save(tmp_path, 1, 2)
    (tmp_path / "checkpoints/2/meta/metadata").write_text("{")
    store = CheckpointStore(tmp_path)
    assert store.restore_newest(make_state(0.0)).step == 1
    store.save(2, make_state(2.0), {"number": 2})
    store.close()
    assert_is(restore(tmp_path), 2)


def test_changed_host_state_is_noticed(tmp_path):
    save(tmp_path, 1, 2)
    path = tmp_path / "checkpoints/2/meta/metadata"
    meta = json.loads(path.read_text())
    meta["host"]["number"] = 3
    path.write_text(json.dumps(meta))
    assert_is(restore(tmp_path), 1)


def test_all_damaged_is_an_error_and_nothing_is_touched(tmp_path):
    save(tmp_path, 1, 2)
    for path in (tmp_path / "checkpoints").glob("*/meta/metadata"):
        path.write_text("{}")
    before = sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*") if p.is_file())
    with pytest.raises(UserError, match=r"none of the checkpoints in .* can be read; nothing was"):
        restore(tmp_path)
    assert sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*") if p.is_file()) == before


def _changed(path, **values):
    """Rewrites the description of an array in a checkpoint."""
    base = {"driver": "ocdbt", "base": f"file://{path}/model/"}
    store = ts.KvStore.open(base).result()
    array = json.loads(store.read("network.weight/.zarray").result().value)
    store.write("network.weight/.zarray", json.dumps(array | values)).result()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda path: _changed(path, shape=[10**13]), r"float32\[10000000000000\], not float32"),
        (lambda path: _changed(path, chunks=[10**13]), r"kept in parts of \[10000000000000\]"),
        (lambda path: path.rename(path.with_name("3")), "it is of step 2"),
        (lambda path: os.mkfifo(path / "model/d/fifo"), "fifo is no file"),
        (lambda path: os.truncate(path / "model/_METADATA", 10**11), "has 100,000,000,000 bytes"),
        (lambda path: (path / "meta/metadata").write_text('{"host":' * 900), "is nested|Expecting"),
        (lambda path: (path / "model/_METADATA").write_text('{"tree_metadata": {}}'), "0 arrays"),
    ],
    ids=["array", "chunk", "renamed", "fifo", "sparse", "deep", "empty"],
)
def test_what_a_checkpoint_claims_is_looked_at_before_it_is_read(saved, harm, message, caplog):
    harm(saved / "checkpoints/2")
    assert_is(restore(saved), 1)
    assert re.search(rf"checkpoints/\d is damaged \(.*({message})", caplog.text)


@pytest.mark.parametrize("name", ["meta/metadata", "model/_METADATA", "train/d"])
def test_a_disk_that_cannot_be_read_is_told_and_nothing_is_set_aside(saved, name):
    """Reading the start of the file that the link leads to is an I/O error."""
    path = saved / "checkpoints/2" / name
    path = path if path.is_file() else next(path.iterdir())
    path.rename(saved / "good")
    path.symlink_to("/proc/self/mem")
    with pytest.raises(UserError, match=r"cannot read .*checkpoints/2"):
        restore(saved)
    path.unlink()
    (saved / "good").rename(path)
    assert_is(restore(saved), 2)


@pytest.mark.parametrize(
    ("error", "is_trouble"),
    [
        (OSError(errno.ESTALE, ""), True),
        (PermissionError(errno.EACCES, ""), True),
        (MemoryError(), True),
        (ValueError("UNAVAILABLE: Error opening"), True),
        (ValueError("RESOURCE_EXHAUSTED: Too many open files"), True),
        (FileNotFoundError("no file"), False),
        (OSError(errno.ELOOP, ""), False),
        (ValueError("DATA_LOSS: Error opening"), False),
        (ValueError("NOT_FOUND: UNKNOWN: "), False),
    ],
)
def test_trouble_with_the_disk_is_told_from_damage(error, is_trouble):
    assert checkpoint_reading._is_trouble(error) == is_trouble
    outer = KeyError()
    outer.__cause__ = error
    assert checkpoint_reading._is_trouble(outer) == is_trouble


def test_a_damaged_checkpoint_is_moved_to_another_disk(saved, monkeypatch):
    flip(saved / "checkpoints/2/meta/metadata")

    def rename(source, target):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "rename", rename)
    assert_is(restore(saved), 1)
    assert (saved / "damaged_checkpoints/2/meta/metadata").is_file()
    assert workdir.step_numbers(saved / "checkpoints") == [1]


GOOD_HOST = HostState(Plateau(0.1), 0, None, 1.0).to_json()


@pytest.mark.parametrize(
    "meta",
    [
        {"host": GOOD_HOST, "data": {"next_index": 2}},
        {"host": GOOD_HOST, "data": {"next_index": True}},
        {"host": GOOD_HOST, "data": []},
        {"host": GOOD_HOST},
        {"host": GOOD_HOST | {"epochs": -1}, "data": {"next_index": 1}},
        {"host": GOOD_HOST | {"epochs": 1.5}, "data": {"next_index": 1}},
        {"host": GOOD_HOST | {"best_step": "x"}, "data": {"next_index": 1}},
        {"host": GOOD_HOST | {"plateau": [1]}, "data": {"next_index": 1}},
        {"host": GOOD_HOST | {"plateau": [None, 1, 0]}, "data": {"next_index": 1}},
        {"host": [], "data": {"next_index": 1}},
    ],
)
def test_a_whole_checkpoint_that_makes_no_sense_is_refused(meta):
    restored = checkpoints.Restored(1, make_state(1.0), meta)
    with pytest.raises(UserError, match="of step 1 does not say how far the run was"):
        record._check_position(restored)


def test_a_whole_checkpoint_that_makes_sense_is_not_refused():
    meta = json.loads(json.dumps({"host": GOOD_HOST, "data": {"next_index": 1}}))
    record._check_position(checkpoints.Restored(1, make_state(1.0), meta))
    assert HostState.from_json(meta["host"]).plateau == Plateau(0.1)


def test_other_parameters_are_named():
    arrays = to_arrays({"a": jnp.zeros(2), "b": jnp.zeros(3)})
    with pytest.raises(ValueError, match=r"b is float32\[3\], not float32\[4\]"):
        from_arrays({"a": jnp.zeros(2), "b": jnp.zeros(4)}, arrays)
    with pytest.raises(ValueError, match="for instance b, c"):
        from_arrays({"a": jnp.zeros(2), "c": jnp.zeros(3)}, arrays)


def test_disk_full_is_told_and_older_checkpoints_stay(tmp_path):
    """A limit on the size of files fails writes as a full disk does."""
    save(tmp_path, 1, 2)
    store = CheckpointStore(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
    try:
        with pytest.raises(UserError, match=r"cannot save a checkpoint.*older ones are untouched"):
            _save_and_wait(store)
        store.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_is(restore(tmp_path), 2)


def _save_and_wait(store):
    store.save(3, make_state(3.0), {"number": 3})
    store.wait()


def test_checkpoints_that_cannot_be_written_are_told(tmp_path):
    (tmp_path / "checkpoints").write_text("a file in the way")
    with pytest.raises(UserError, match="cannot save a checkpoint in"):
        CheckpointStore(tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, corpus):
    """A workdir with checkpoints 12 (the best) and 18, from a short run."""
    from nlf_jax.cli import options
    from nlf_jax.training.loop import Trainer

    path = tmp_path_factory.mktemp("trained")
    small = {"embedding": 4, "hidden": 4, "max_length": 9, "buckets": (5,), "checkpoint_every": 6}
    small |= {"num_epochs": 1, "batch_size": 8}
    config = options.get_config("ptb_char", "lstm", "tiny", **small)
    workdir.claim(path, workdir.describe("letters", config, corpus), corpus.vocabulary_json)
    trainer = Trainer(config, corpus, path)
    trainer.run()
    return path, trainer


@pytest.fixture
def copied(trained, tmp_path):
    shutil.copytree(trained[0], tmp_path / "run")
    return tmp_path / "run"


def test_load_gives_the_trained_model(trained, corpus):
    path, trainer = trained
    model = loading.load(path)
    assert model.vocabulary == corpus.vocabulary
    assert digest(to_arrays(model)) == digest(to_arrays(trainer.state.model))
    assert isinstance(jax.tree.leaves(model)[0], jax.Array)


def test_load_prefers_the_best_and_else_the_newest_whole(copied, caplog):
    steps = workdir.step_numbers(copied / "checkpoints")
    shutil.copytree(copied / f"checkpoints/{steps[-1]}", copied / "checkpoints/1")
    (copied / "best.json").write_text('{"step": 1}')
    assert checkpoints.load_with_step(copied)[1] == 1
    (copied / "checkpoints/1/meta/metadata").unlink()
    caplog.clear()
    assert checkpoints.load_with_step(copied)[1] == steps[-1]
    assert "checkpoints/1 is damaged" in caplog.text
    assert f"The model of step {steps[-1]} is taken, though that of 1 was best" in caplog.text
    (copied / "best.json").write_text('{"step": 7}')
    caplog.clear()
    assert checkpoints.load_with_step(copied)[1] == steps[-1]
    assert "The best checkpoint, of step 7, is not in" in caplog.text
    shutil.rmtree(copied / "checkpoints")
    with pytest.raises(UserError, match=r"no checkpoint in .* yet: train first"):
        loading.load(copied)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", None, "no trained model in"),
        ("config.json", "{", "config.json is damaged"),
        ("config.json", "[]", "config.json is damaged"),
        ("config.json", '{"format": 9, "config": {}, "data": {}, "experiment": ""}', "format 9"),
        ("config.json", '{"format": 1, "config": {}, "data": {}, "experiment": ""}', "describe a"),
        ("vocabulary.json", None, "missing or of another model"),
        ("vocabulary.json", '{"symbols": ["x"]}', "missing or of another model"),
        ("vocabulary.json", "][", "vocabulary.json: The vocabulary file is damaged"),
        ("vocabulary.json", '{"symbols": ["\\ud800"]}', r"vocabulary.json: .*'\\ud800'"),
        ("vocabulary.json", '{"symbols": ["\\u001b"]}', r"vocabulary.json: .*'\\x1b'"),
        ("config.json", ("flow_layers", 10**6), "flow_layers must be at least 1 and less than 200"),
        ("config.json", ("hidden", 10**9), "hidden must be at least 1 and less than 100,000"),
        ("config.json", ("batch_size", 2**31), "batch_size must be at least 1 and less than 100,"),
        ("config.json", ("num_symbols", 2**31 - 1), "would have .* parameters, more than 10,000"),
        ("config.json", ("num_symbols", 2**31), "describe a model"),
        ("config.json", ("max_length", 2.5), "describe a model"),
        ("config.json", ("hidden", 10**4000), "hidden must be at least 1"),
    ],
)
def test_load_of_a_damaged_workdir_is_one_sentence(copied, file, content, message):
    changed = (copied / file).read_text()
    (copied / file).unlink()
    if isinstance(content, tuple):
        name, value = content
        content = re.sub(rf'"{name}": [0-9]+', f'"{name}": {value}', changed)
        assert content != changed
    if content is not None:
        (copied / file).write_text(content)
    with pytest.raises(UserError, match=message):
        loading.load(copied)


def test_another_vocabulary_of_the_same_size_is_noticed(copied):
    symbols = json.loads((copied / "vocabulary.json").read_text())["symbols"]
    (copied / "vocabulary.json").write_text(json.dumps({"symbols": [*symbols[:-1], "\u03c9"]}))
    with pytest.raises(UserError, match=r"vocabulary.json is missing or of another model"):
        loading.load(copied)
    config = json.loads((copied / "config.json").read_text())
    del config["data"]["vocabulary"]  # as older versions wrote it
    (copied / "config.json").write_text(json.dumps(config))
    loading.load(copied)


def test_load_with_every_checkpoint_damaged(copied):
    for path in (copied / "checkpoints").glob("*/model/_METADATA"):
        path.unlink()
    with pytest.raises(UserError, match="none of the checkpoints"):
        loading.load(copied)


def test_flipped_parameter_is_never_loaded(copied):
    newest = workdir.step_numbers(copied / "checkpoints")[-1]
    original = np.concatenate([x.ravel() for x in jax.tree.leaves(loading.load(copied))])
    for path in sorted((copied / f"checkpoints/{newest}/model").rglob("d/*")):
        content = path.read_bytes()
        flip(path)
        with contextlib.suppress(UserError):
            loaded = np.concatenate([x.ravel() for x in jax.tree.leaves(loading.load(copied))])
            assert np.array_equal(loaded, original)
        path.write_bytes(content)
