import io
import random
import struct
import zlib

import numpy as np
import pytest
import scipy.io

from nlf_jax.data.music import mat_file
from nlf_jax.data.music.mat_file import KEYS, MAX_CELLS, MAX_FILE_BYTES, MAX_VARIABLES, read_rolls
from nlf_jax.errors import UserError


def cells(*rolls):
    array = np.empty((1, len(rolls)), object)
    array[0, :] = rolls
    return array


def mat(compress=True, **changes):
    """The bytes of a small file of the published form; None leaves a variable out."""
    rolls = [np.eye(3, 88, k, np.uint8) for k in range(3)] + [np.ones((1, 88), np.uint8)]
    variables = {key: cells(*rolls[i : i + 2]) for i, key in enumerate(KEYS.values())} | changes
    variables = {key: value for key, value in variables.items() if value is not None}
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, variables, do_compression=compress)
    return buffer.getvalue()


@pytest.mark.parametrize("compress", [False, True])
def test_reads_what_was_written(compress):
    rolls = read_rolls(mat(compress), "a.mat")
    assert list(rolls) == ["train", "valid", "test"]
    np.testing.assert_array_equal(rolls["valid"][1], np.eye(3, 88, 2, bool))
    np.testing.assert_array_equal(rolls["test"][1], np.ones((1, 88), bool))
    assert all(roll.dtype == np.bool_ for split in rolls.values() for roll in split)


@pytest.mark.parametrize("dtype", [np.int8, np.float64, np.bool_])
def test_reads_every_type_of_zeros_and_ones(dtype):
    content = mat(traindata=cells(np.eye(2, 88, 3, dtype=dtype)))
    np.testing.assert_array_equal(read_rolls(content, "a.mat")["train"][0], np.eye(2, 88, 3))


BAD_VARIABLES = {
    "no traindata": {"traindata": None},
    "is a uint8 array": {"traindata": np.zeros((3, 88), np.uint8)},
    "MATLAB class 4": {"traindata": "text"},
    "MATLAB class 2": {"traindata": {"a": 1}},
    "MATLAB class 5": {"traindata": scipy.sparse.csc_array(np.eye(88))},
    "MATLAB class 1": {"traindata": cells(cells(np.zeros((2, 88))))},
    "shape [2, 87]": {"validdata": cells(np.zeros((2, 87)))},
    "shape [88, 2]": {"validdata": cells(np.zeros((88, 2)))},
    "other than 0 and 1": {"testdata": cells(np.full((2, 88), 2, np.uint8))},
    "values other": {"testdata": cells(np.full((2, 88), np.nan))},
    "not a real matrix": {"testdata": cells(np.full((2, 88), 1j))},
    "empty": {"testdata": cells(np.zeros((0, 88)))},
    "is empty": {"testdata": np.empty((1, 0), object)},
}


@pytest.mark.parametrize("message", BAD_VARIABLES)
def test_refuses_other_content(message):
    with pytest.raises(UserError) as caught:
        read_rolls(mat(**BAD_VARIABLES[message]), "a.mat")
    assert message in str(caught.value)
    assert "a.mat" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0", mat()[:128], mat()[:-1], mat()[:300]])
def test_refuses_truncated_files(content):
    with pytest.raises(UserError, match=r"a\.mat"):
        read_rolls(content, "a.mat")


def test_refuses_what_unpacks_to_too_much():
    zeros = zlib.compress(bytes(101_000_000), 1)
    content = mat()[:128] + struct.pack("<II", 15, len(zeros)) + zeros
    assert len(content) < MAX_FILE_BYTES
    with pytest.raises(UserError, match="unpacks to over 100,000,000 bytes"):
        read_rolls(content, "a.mat")


def compressed(element):
    return struct.pack("<II", 15, len(zlib.compress(element))) + zlib.compress(element)


def test_refuses_what_unpacks_to_too_much_after_a_part_that_leaves_no_room(monkeypatch):
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"x": np.zeros((1, 8))})
    header, whole = buffer.getvalue()[:128], buffer.getvalue()[128:]
    monkeypatch.setattr(mat_file, "MAX_CONTENT_BYTES", len(whole))
    content = header + compressed(whole) + compressed(bytes(1_000_000))
    with pytest.raises(UserError, match="unpacks to over"):
        read_rolls(content, "a.mat")


def test_refuses_more_parts_than_music_has():
    many_cells = cells(*[np.zeros((1, 88), np.uint8)] * (MAX_CELLS + 1))
    with pytest.raises(UserError, match="more than 10,000 cells"):
        read_rolls(mat(traindata=many_cells), "a.mat")
    with pytest.raises(UserError, match="more than 10 variables"):
        read_rolls(mat(**{f"x{n}": np.zeros(1) for n in range(MAX_VARIABLES)}), "a.mat")
    tiny_elements = struct.pack("<II", 14, 8 * 12_000) + struct.pack("<II", 1, 0) * 12_000
    with pytest.raises(UserError, match="more than 10,000 cells"):
        read_rolls(mat()[:128] + compressed(tiny_elements), "a.mat")


def test_reads_as_many_cells_as_are_allowed():
    most = cells(*[np.zeros((1, 88), np.uint8)] * MAX_CELLS)
    assert len(read_rolls(mat(traindata=most), "a.mat")["train"]) == MAX_CELLS


def version_4(order="<"):
    """The beginning of a matrix of doubles named x."""
    return (
        struct.pack(f"{order}5i", 0 if order == "<" else 1000, 2, 88, 0, 2) + b"x\0" + bytes(1408)
    )


VERSION_7_3 = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(384) + b"\x89HDF\r\n\x1a\n"


@pytest.mark.parametrize(
    ("content", "version"),
    [
        (VERSION_7_3, r"7\.3 \(HDF5\)"),
        (VERSION_7_3 + bytes(MAX_FILE_BYTES), r"7\.3 \(HDF5\)"),
        (b"\x89HDF\r\n\x1a\n" + bytes(600), r"7\.3 \(HDF5\)"),
        (version_4(), "4"),
        (version_4(">"), "4"),
    ],
)
def test_names_other_versions_and_the_way_out(content, version):
    with pytest.raises(UserError, match=rf"a\.mat is a file of MATLAB {version}, .*'-v7'"):
        read_rolls(content, "a.mat")


def test_version_4_as_scipy_writes_it_is_named():
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"traindata": np.eye(3, 88)}, format="4")
    with pytest.raises(UserError, match="of MATLAB 4"):
        read_rolls(buffer.getvalue(), "a.mat")


@pytest.mark.parametrize("content", [bytes(600), b"\0\0\0\x18ftypisom" + bytes(600)])
def test_other_files_are_not_taken_for_version_4(content):
    with pytest.raises(UserError, match="another kind of file"):
        read_rolls(content, "a.mat")


def test_refuses_too_large_files():
    with pytest.raises(UserError, match="larger than"):
        read_rolls(bytes(MAX_FILE_BYTES + 1), "a.mat")


def test_damage_is_an_error_or_harmless_but_never_a_crash():
    """Without the check of the structure, about one in a hundred of these ends the process."""
    source, content = random.Random(0), mat(compress=False)
    outcomes = set()
    for _ in range(1500):
        damaged = bytearray(content)
        for _ in range(source.choice([1, 2])):
            damaged[source.randrange(128, 420)] = source.choice([0, 1, 2, 9, 14, 15, 16, 255])
        try:
            read_rolls(bytes(damaged), "a.mat")
            outcomes.add("read")
        except UserError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}
