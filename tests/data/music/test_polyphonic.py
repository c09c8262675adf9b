import errno
import hashlib
import logging
import os
import time

import numpy as np
import pytest
import scipy.io

from nlf_jax.data.music import polyphonic
from nlf_jax.data.music.mat_file import KEYS
from nlf_jax.data.music.polyphonic import NAMES, load_polyphonic
from nlf_jax.errors import UserError

# METHOD: sequences and frames of train, valid and test.
COUNTS = {
    "jsb_chorales": ((229, 76, 77), (13_807, 4_602, 4_725), 160),
    "nottingham": ((694, 173, 170), (176_561, 45_513, 44_463), 1_793),
    "muse_data": ((524, 135, 124), (245_202, 82_755, 64_339), 4_273),
    "piano_midi": ((87, 12, 25), (75_911, 8_540, 19_036), 3_857),
}


@pytest.fixture(autouse=True)
def cache_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("NLF_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def small_dir(tmp_path):
    """A data directory with a small file in place of JSB chorales."""
    directory = tmp_path / "data" / "polyphonic"
    directory.mkdir(parents=True)
    rng = np.random.default_rng(0)
    variables = {key: np.empty((1, 3), object) for key in KEYS.values()}
    for array in variables.values():
        array[0, :] = [(rng.random((t, 88)) < 0.1).astype(np.uint8) for t in (2, 5, 3)]
    scipy.io.savemat(directory / "JSB_Chorales.mat", variables, do_compression=True)
    return directory.parent


def prepared_file(cache_dir, split):
    (path,) = cache_dir.glob(f"polyphonic/*/polyphonic/jsb_chorales/*/*{split}.array_record*")
    return path


@pytest.fixture
def forbid_preparing(monkeypatch):
    def fail(*_):
        raise AssertionError("prepared again")

    return lambda: monkeypatch.setattr(polyphonic, "_prepare", fail)


@pytest.mark.parametrize("dataset", COUNTS)
def test_counts_of_the_real_files(dataset, data_dir):
    if not (data_dir / "polyphonic").is_dir():
        pytest.skip("NLF_DATA_DIR has no polyphonic")
    corpus = load_polyphonic(dataset, data_dir)
    splits = list(corpus.splits.values())
    pieces, frames = (tuple(map(len, splits)), tuple(sum(map(len, rolls)) for rolls in splits))
    assert (pieces, frames, corpus.max_length) == COUNTS[dataset]
    assert corpus.vocabulary is None
    assert {(roll.dtype, roll.shape[1]) for rolls in splits for roll in rolls} == {
        (np.dtype(np.bool_), 88)
    }
    published = scipy.io.loadmat(data_dir / "polyphonic" / NAMES[dataset])
    for rolls, key in zip(splits, KEYS.values(), strict=True):
        np.testing.assert_array_equal(np.concatenate(rolls), np.concatenate(published[key][0]))


def test_second_load_uses_what_was_prepared(small_dir, forbid_preparing):
    first = load_polyphonic("jsb_chorales", small_dir)
    assert [len(roll) for roll in first.splits["test"]] == [2, 5, 3]
    forbid_preparing()
    assert load_polyphonic("jsb_chorales", small_dir).fingerprint == first.fingerprint


def test_another_file_is_prepared_anew_and_named(small_dir, data_dir, caplog):
    with caplog.at_level(logging.WARNING):
        small = load_polyphonic("jsb_chorales", small_dir / "polyphonic")
    assert "not the published file" in caplog.text
    caplog.clear()
    assert load_polyphonic("jsb_chorales", data_dir).fingerprint != small.fingerprint
    assert not caplog.text


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "swap"])
def test_damaged_cache_is_prepared_anew(damage, small_dir, cache_dir):
    fingerprint = load_polyphonic("jsb_chorales", small_dir).fingerprint
    path = prepared_file(cache_dir, "valid")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    other = prepared_file(cache_dir, "test").read_bytes()
    path.write_bytes({"flip": content, "swap": other}.get(damage, content[:100]))
    if damage == "remove":
        path.unlink()
    assert load_polyphonic("jsb_chorales", small_dir).fingerprint == fingerprint


def test_interrupted_preparation_is_done_again(small_dir, cache_dir):
    fingerprint = load_polyphonic("jsb_chorales", small_dir).fingerprint
    (digest,) = cache_dir.glob("polyphonic/*/content.sha256")
    digest.unlink()
    prepared_file(cache_dir, "test").unlink()
    assert load_polyphonic("jsb_chorales", small_dir).fingerprint == fingerprint


def test_damaged_source_is_refused_and_leaves_nothing(small_dir, cache_dir):
    path = small_dir / "polyphonic" / "JSB_Chorales.mat"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(UserError, match=r"JSB_Chorales\.mat is damaged.*Replace it by http"):
        load_polyphonic("jsb_chorales", small_dir)
    assert not cache_dir.exists()


@pytest.mark.timeout(10)
def test_what_is_no_file_is_refused_at_once(small_dir):
    path = small_dir / "polyphonic" / "JSB_Chorales.mat"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    with pytest.raises(UserError, match=r"JSB_Chorales\.mat is a Git LFS pointer"):
        load_polyphonic("jsb_chorales", small_dir)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match="it is a pipe or a device"):
        load_polyphonic("jsb_chorales", small_dir)
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match=r"Cannot read .* directory"):
        load_polyphonic("jsb_chorales", small_dir)


def test_a_disk_that_is_full_is_told_and_leaves_nothing_half_made(small_dir, monkeypatch):
    def fill(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(polyphonic.pathlib.Path, "write_text", fill)
        with pytest.raises(UserError, match=r"No space left .* set NLF_CACHE_DIR"):
            load_polyphonic("jsb_chorales", small_dir)
    corpus = load_polyphonic("jsb_chorales", small_dir)
    assert [len(roll) for roll in corpus.splits["test"]] == [2, 5, 3]


def test_unknown_dataset_and_directory_are_refused(tmp_path):
    with pytest.raises(UserError, match="choose one of jsb_chorales, nottingham"):
        load_polyphonic("jsb", tmp_path)
    with pytest.raises(UserError, match="is not a directory"):
        load_polyphonic("jsb_chorales", tmp_path / "nowhere")


@pytest.mark.parametrize("given", [True, False])
def test_no_file_and_no_network_is_soon_an_error(given, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setitem(polyphonic.URLS, "nottingham", "http://127.0.0.1:9/Nottingham.mat")
    infos = polyphonic.Polyphonic.url_infos
    info = next(info for url, info in infos.items() if url.endswith("Nottingham.mat"))
    monkeypatch.setitem(infos, "http://127.0.0.1:9/Nottingham.mat", info)
    start = time.monotonic()
    with pytest.raises(UserError, match=r"cannot be reached.*Put Nottingham\.mat into"):
        load_polyphonic("nottingham", tmp_path if given else None)
    assert time.monotonic() - start < 10
    assert not caplog.text


def test_registered_sizes_and_checksums_are_those_of_the_real_files(data_dir):
    for dataset, name in NAMES.items():
        info = polyphonic.Polyphonic.url_infos[polyphonic.URLS[dataset]]
        content = (data_dir / "polyphonic" / name).read_bytes()
        assert len(content) == info.size
        assert hashlib.sha256(content).hexdigest() == info.checksum
