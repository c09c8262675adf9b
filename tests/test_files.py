import os
import resource
import socket
import stat
import threading

import pytest

from nlf_jax import files
from nlf_jax.errors import UserError


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    files.write_atomically(path, "1")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
    try:
        with pytest.raises(UserError, match=r"cannot write .*a\.json: File too large"):
            files.write_atomically(path, "2" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "1"
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize(
    ("path", "message"),
    [("~nobody_at_all/a", "no such home folder"), ("", "empty"), (b"a", "as text"), (3, "as text")],
)
def test_what_is_no_path_is_told(path, message):
    with pytest.raises(UserError, match=f"workdir is .*{message}"):
        files.expanded("workdir", path)


def test_what_is_written_can_be_read_by_those_that_the_umask_allows(tmp_path):
    old = os.umask(0o027)
    try:
        files.write_atomically(tmp_path / "a", b"")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_several_write_the_same_file_at_once(tmp_path):
    """Through one temporary name a quarter of this many failed."""
    path, problems = tmp_path / "a", []

    def write(letter):
        for _ in range(50):
            try:
                files.write_atomically(path, letter * 1000)
            except UserError as error:
                problems.append(error)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not problems
    assert path.read_text() in [letter * 1000 for letter in "abcd"]
    assert os.listdir(tmp_path) == ["a"]


def _socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkfifo, "is no file, but a FIFO"),
        (os.mkdir, "cannot read .* Is a directory"),
        (lambda path: os.symlink("/dev/zero", path), "is no file, but a device"),
        (lambda path: os.symlink(path, path), "cannot read .* symbolic links"),
        (_socket, "cannot read"),
        (lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_RDWR), 11), "has 11 bytes"),
    ],
    ids=["fifo", "folder", "device", "loop", "socket", "large"],
)
@pytest.mark.parametrize("read", [files.read_file, files.read_json])
def test_what_is_no_file_is_refused_at_once(tmp_path, make, message, read):
    make(tmp_path / "x")
    with pytest.raises(UserError, match=message):
        read(tmp_path / "x", 10)


def test_a_file_that_says_it_is_empty_and_is_not():
    with pytest.raises(UserError, match="or more; the most that it may have is 10"):
        files.read_file(files.Path("/proc/self/status"), 10)


@pytest.mark.parametrize("text", ["NaN", '{"a": Infinity}', "[[[1]]]", "[" * 10**5, "", "9" * 5000])
def test_what_is_no_json_or_too_deep(tmp_path, text):
    (tmp_path / "x").write_text(text)
    with pytest.raises(ValueError):  # noqa: PT011
        files.read_json(tmp_path / "x", 10**6, depth=2)


def test_json_as_deep_as_allowed(tmp_path):
    (tmp_path / "x").write_text('{"a": [1, 2.5, null]}')
    assert files.read_json(tmp_path / "x", 21, depth=2) == {"a": [1, 2.5, None]}


def test_a_line_without_end_is_no_row(tmp_path):
    (tmp_path / "x").write_text(
        '{"a": 1}\n' + " " * 3 * files.MAX_ROW_BYTES + '\n{"a": 2}\n[]\n\udcff',
        errors="surrogateescape",
    )
    assert files.read_rows(tmp_path / "x") == [{"a": 1}, {"a": 2}]
    os.truncate(tmp_path / "x", files.MAX_ROWS_BYTES + 1)
    with pytest.raises(UserError, match="the most that it may have"):
        files.read_rows(tmp_path / "x")
