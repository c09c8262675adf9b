import contextlib
import dataclasses
import functools
import hashlib
import http.server
import os
import pathlib
import resource
import shutil
import threading
import time

import pytest
from tensorflow_datasets.core.download import checksums

from nlf_jax.data.text import ptb
from nlf_jax.data.text.corpora import load_ptb
from nlf_jax.errors import UserError

CONTENT = {
    "train": " the <unk> cat \n sat \n" + "x" * 289 + "\n",
    "valid": " the mat \n",
    "test": " the mouse \n\n sat on 9 \n",
}


@dataclasses.dataclass(frozen=True)
class _Tiny:
    source_dir: pathlib.Path
    cache_dir: pathlib.Path

    def prepared(self, split):
        (path,) = self.cache_dir.glob(f"ptb/*/ptb_char/*/*{split}.array_record*")
        return path


def _register(monkeypatch, source_dir):
    infos = {
        url: checksums.compute_url_info(source_dir / ptb.NAMES[split])
        for split, url in ptb.URLS.items()
    }
    monkeypatch.setattr(ptb.PtbChar, "url_infos", infos)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Small registered files in place of Penn Treebank, and no way to the network."""
    files = _Tiny(tmp_path / "data" / "ptb", tmp_path / "cache")
    files.source_dir.mkdir(parents=True)
    for split, content in CONTENT.items():
        (files.source_dir / ptb.NAMES[split]).write_text(content)
    monkeypatch.setenv("NLF_CACHE_DIR", str(files.cache_dir))
    monkeypatch.delenv("NLF_DATA_DIR", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(ptb, "URLS", {s: f"http://127.0.0.1:9/{n}" for s, n in ptb.NAMES.items()})
    _register(monkeypatch, files.source_dir)
    return files


@pytest.fixture
def forbid_preparing(monkeypatch):
    def fail(*_):
        raise AssertionError("prepared again")

    return lambda: monkeypatch.setattr(ptb, "_prepare", fail)


def test_counts_of_the_real_files(data_dir, ptb_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("NLF_CACHE_DIR", str(tmp_path))
    corpus = load_ptb(data_dir)
    counts = {s: (len(rows), sum(map(len, rows))) for s, rows in corpus.splits.items()}
    assert counts == {
        "train": (41_740, 4_868_454), "valid": (3_356, 385_082), "test": (3_735, 430_371),
    }  # fmt: skip
    assert sum(len(row) + 1 for row in corpus.splits["test"]) == 434_106
    assert len(corpus.vocabulary.symbols) == 49
    assert len(corpus.vocabulary) == 51
    assert max(map(len, corpus.splits["train"])) <= corpus.max_length == 288
    assert not any((row == 0).any() for rows in corpus.splits.values() for row in rows)
    first = corpus.splits["train"][0]
    assert corpus.vocabulary.decode([first], [len(first)])[0].startswith("aer banknote berlitz")


@pytest.mark.parametrize("folder", ["", "ptb"])
def test_files_are_found_in_data_dir_and_in_its_ptb_folder(tiny, folder):
    data_dir = tiny.source_dir.parent if folder else tiny.source_dir
    lines = ptb.load_lines(data_dir)
    assert {split: "".join(of_split) for split, of_split in lines.items()} == CONTENT


def test_lines_are_stripped_and_empty_and_long_ones_dropped(tiny):
    corpus = load_ptb(tiny.source_dir)
    assert [len(row) for row in corpus.splits["train"]] == [13, 3]
    assert [len(row) for row in corpus.splits["test"]] == [9, 8]
    assert "x" not in corpus.vocabulary.symbols


def test_environment_variable_names_the_data_dir(tiny, monkeypatch):
    monkeypatch.setenv("NLF_DATA_DIR", str(tiny.source_dir.parent))
    assert len(load_ptb().splits["train"]) == 2


def test_a_tilde_is_the_home_folder(tiny, monkeypatch):
    monkeypatch.setenv("HOME", str(tiny.source_dir.parent))
    assert len(load_ptb("~/ptb").splits["train"]) == 2


def test_max_length_that_no_line_fits_is_refused(tiny):
    with pytest.raises(UserError, match="max_length=2"):
        load_ptb(tiny.source_dir, max_length=2)


def test_prepared_once_then_no_source_and_no_network_is_needed(tiny, forbid_preparing):
    first = load_ptb(tiny.source_dir)
    forbid_preparing()
    assert load_ptb(tiny.source_dir).fingerprint == first.fingerprint
    assert load_ptb().fingerprint == first.fingerprint


def test_other_registered_files_are_prepared_anew(tiny, monkeypatch):
    first = load_ptb(tiny.source_dir)
    (tiny.source_dir / "ptb.test.txt").write_text(" another test \n")
    _register(monkeypatch, tiny.source_dir)
    second = load_ptb(tiny.source_dir)
    assert len(second.splits["test"]) == 1
    assert second.fingerprint != first.fingerprint


def _flip_bytes(path):
    content = bytearray(path.read_bytes())
    for i in range(0, len(content), 7):
        content[i] ^= 0x55
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        pathlib.Path.unlink,
        functools.partial(pathlib.Path.write_bytes, data=b""),
        lambda path: path.write_bytes(path.read_bytes()[:-70_000]),
        _flip_bytes,
        lambda path: (path.parent / "dataset_info.json").unlink(),
        lambda path: (path.parent / "dataset_info.json").write_text("{"),
        lambda path: path.parent.rename(path.parent.parent / "incomplete.ABC_1.0.0"),
        lambda path: shutil.copy(str(path).replace("-train.", "-test."), path),
    ],
    ids=["deleted", "empty", "cut", "flipped", "no info", "bad info", "killed", "swapped"],
)
def test_damaged_preparation_is_made_anew(tiny, damage, forbid_preparing):
    lines = ptb.load_lines(tiny.source_dir)
    damage(tiny.prepared("train"))
    assert ptb.load_lines(tiny.source_dir) == lines
    forbid_preparing()
    assert ptb.load_lines(tiny.source_dir) == lines


def test_truncated_source_is_refused_although_prepared(tiny):
    ptb.load_lines(tiny.source_dir)
    path = tiny.source_dir / "ptb.train.txt"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UserError, match=r"307 bytes instead of 312.*truncated"):
        ptb.load_lines(tiny.source_dir)


def test_changed_source_of_the_same_size_is_refused(tiny):
    path = tiny.source_dir / "ptb.valid.txt"
    path.write_text(CONTENT["valid"].replace("mat", "dog"))
    with pytest.raises(UserError, match=hashlib.sha256(CONTENT["valid"].encode()).hexdigest()):
        ptb.load_lines(tiny.source_dir)


@pytest.mark.timeout(10)
def test_what_is_no_file_is_refused_at_once(tiny):
    path = tiny.source_dir / "ptb.train.txt"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    with pytest.raises(UserError, match=r"ptb\.train\.txt is a Git LFS pointer"):
        ptb.load_lines(tiny.source_dir)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match="it is a pipe or a device"):
        ptb.load_lines(tiny.source_dir)


def test_one_missing_file_is_named(tiny):
    (tiny.source_dir / "ptb.valid.txt").unlink()
    with pytest.raises(UserError, match=r"lacks ptb\.valid\.txt"):
        ptb.load_lines(tiny.source_dir)


def test_missing_data_dir_is_refused(tiny):
    with pytest.raises(UserError, match="none is not a directory"):
        ptb.load_lines(tiny.source_dir / "none")


@pytest.mark.parametrize("data_dir", [None, "empty"])
def test_no_network_is_told_at_once(tiny, tmp_path, data_dir):
    (tmp_path / "empty").mkdir()
    start = time.monotonic()
    with pytest.raises(UserError, match=r"cannot be reached.*NLF_DATA_DIR"):
        ptb.load_lines(data_dir and tmp_path / data_dir)
    assert time.monotonic() - start < 10


@pytest.fixture
def server(tiny, monkeypatch):
    """Serves the tiny files on the loopback interface."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Handler, directory=tiny.source_dir)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.02,))
        thread.start()
        base = f"http://127.0.0.1:{httpd.server_port}"
        monkeypatch.setattr(ptb, "URLS", {s: f"{base}/{n}" for s, n in ptb.NAMES.items()})
        _register(monkeypatch, tiny.source_dir)
        yield tiny
        httpd.shutdown()
        thread.join()


def test_download(server, capsys):
    lines = ptb.load_lines(None)
    assert {split: "".join(of_split) for split, of_split in lines.items()} == CONTENT
    assert capsys.readouterr() == ("", "")


def test_download_with_another_checksum_is_refused(server):
    (server.source_dir / "ptb.train.txt").write_text(CONTENT["train"].replace("cat", "dog"))
    with pytest.raises(UserError, match="download of Penn Treebank failed"):
        ptb.load_lines(None)
    (server.source_dir / "ptb.train.txt").write_text(CONTENT["train"])
    assert "".join(ptb.load_lines(None)["train"]) == CONTENT["train"]


def test_missing_on_the_server(server):
    (server.source_dir / "ptb.train.txt").unlink()
    with pytest.raises(UserError, match=r"cannot be reached \(HTTPError"):
        ptb.load_lines(None)


def test_cache_directory_that_cannot_be_used(tiny, monkeypatch):
    monkeypatch.setenv("NLF_CACHE_DIR", str(tiny.source_dir / "ptb.train.txt"))
    with pytest.raises(UserError, match="NLF_CACHE_DIR"):
        ptb.load_lines(tiny.source_dir)


@contextlib.contextmanager
def _files_of_at_most(num_bytes):
    """Like a full disk: writing more fails, in C++ too."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


# No file but the empty ones; and what TFDS notes of the data set, but not the data.
@pytest.mark.parametrize("num_bytes", [0, 2000])
def test_a_disk_that_is_full_is_told_and_leaves_nothing_half_made(tiny, num_bytes):
    with _files_of_at_most(num_bytes), pytest.raises(UserError) as caught:
        ptb.load_lines(tiny.source_dir)
    assert "File too large" in str(caught.value)
    assert "set NLF_CACHE_DIR" in str(caught.value)
    assert "\n" not in str(caught.value)
    lines = ptb.load_lines(tiny.source_dir)
    assert {split: "".join(of_split) for split, of_split in lines.items()} == CONTENT


def test_an_error_that_is_none_of_the_disk_is_not_hidden(tiny, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("a fault")

    monkeypatch.setattr(ptb.PtbChar, "download_and_prepare", fail)
    with pytest.raises(RuntimeError, match="a fault"):
        ptb.load_lines(tiny.source_dir)


def test_registered_sizes_are_those_of_the_well_known_files():
    sizes = [int(ptb.PtbChar.url_infos[url].size) for url in ptb.URLS.values()]
    assert sizes == [5_101_618, 399_782, 449_945]
