"""Reading the published .mat files of piano rolls, without trusting them."""

import io
import os
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import scipy.io

from nlf_jax.data.music.piano_roll import check_roll
from nlf_jax.errors import UserError

KEYS = {"train": "traindata", "valid": "validdata", "test": "testdata"}
MAX_FILE_BYTES = 16_000_000
MAX_CONTENT_BYTES = 100_000_000
# Each costs microseconds here and in scipy, however few bytes it has.
MAX_VARIABLES, MAX_CELLS = 10, 10_000
_HEADER_BYTES, _V4_HEADER_BYTES = 128, 20
_HDF5 = b"\x89HDF\r\n\x1a\n"
_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_ITEM_BYTES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}
_CELL, _NUMERIC_CLASSES = 1, range(6, 16)
_LOGICAL_FLAG = 2
# A cell array's flags, shape and name come before its cells.
_MAX_ELEMENTS = 3 + MAX_CELLS


def read_rolls(content: bytes, name: str | os.PathLike) -> dict[str, list[np.ndarray]]:
    """The piano rolls of a MATLAB 5 file with the variables traindata, validdata and testdata.

    Args:
        content: the bytes of the file.
        name: the file's name, for the message.

    Returns:
        bool [T, 88] each, in the splits "train", "valid" and "test".

    Raises:
        UserError: the file is damaged, too large, of another version, or holds anything else.
    """
    version = _other_version(content)
    if version:
        raise UserError(
            f"{name} is a file of MATLAB {version}, and only MATLAB 5 to 7 are read: save it again "
            "with save(..., '-v7'), or scipy.io.savemat in Python."
        )
    if len(content) > MAX_FILE_BYTES:
        raise UserError(f"{name} is larger than {MAX_FILE_BYTES:,} bytes, too large to be it.")
    variables = _load(content, name)
    missing = [key for key in KEYS.values() if key not in variables]
    if missing:
        raise UserError(
            f"{name} has no {', '.join(missing)}; it must hold the cell arrays "
            f"{', '.join(KEYS.values())}."
        )
    return {split: _rolls_of(variables[key], key, name) for split, key in KEYS.items()}


def _other_version(content: bytes) -> str | None:
    """The version of MATLAB whose files begin like this, if it is not one that is read."""
    if content[124:128] == b"\x00\x02IM" or content.startswith(_HDF5):
        return "7.3 (HDF5)"
    if len(content) < _V4_HEADER_BYTES:
        return None
    for order in "<>":
        kind, *shape, imaginary, length = struct.unpack(f"{order}5i", content[:_V4_HEADER_BYTES])
        name = content[_V4_HEADER_BYTES : _V4_HEADER_BYTES + max(length, 0)]
        is_name = name.endswith(b"\0") and name[:-1].decode("latin-1").isidentifier()
        if 0 <= kind < 5000 and min(shape) >= 0 and imaginary in (0, 1) and is_name:
            return "4"
    return None


def _rolls_of(cells: np.ndarray, key: str, name: str | os.PathLike) -> list[np.ndarray]:
    if cells.dtype != object or cells.ndim != 2 or 1 not in cells.shape:
        raise UserError(
            f"{key} of {name} is a {cells.dtype} array of shape {list(cells.shape)}; "
            "expected a row of cells, one piano roll each."
        )
    rolls = [
        check_roll(roll, f"Piano roll {number} of {key} in {name}")
        for number, roll in enumerate(cells.ravel())
    ]
    if not rolls or not all(map(len, rolls)):
        raise UserError(f"{key} of {name} is empty or holds an empty piano roll.")
    return rolls


def _load(content: bytes, name: str | os.PathLike) -> dict[str, np.ndarray]:
    try:
        _check_structure(content)
        return scipy.io.loadmat(io.BytesIO(content), variable_names=list(KEYS.values()))
    except Exception as error:  # scipy lets through whatever its internals run into
        raise UserError(f"{name} is damaged or another kind of file ({error}).") from error


def _check_structure(content: bytes) -> None:
    """Raises ValueError unless the file holds whole numeric and cell arrays only.

    scipy sets no limit to what a file unpacks to, and a wrong byte in it can crash the process.
    """
    if len(content) < _HEADER_BYTES or content[124:128] != b"\x00\x01IM":
        raise ValueError("the header is not that of MATLAB 5")
    for number, element in enumerate(_variables(content)):
        if number == MAX_VARIABLES:
            raise ValueError(f"it holds more than {MAX_VARIABLES} variables")
        _check_variable(element)


def _variables(content: bytes) -> Iterator[bytes]:
    """The element of each variable, unpacked."""
    position, room = _HEADER_BYTES, MAX_CONTENT_BYTES
    while position < len(content):
        kind, size = _tag(content, position)
        element = content[position : position + 8 + size]
        if len(element) < 8 + size:
            raise ValueError("it ends too early")
        if kind == _COMPRESSED:
            element = _decompress(element[8:], room)
        yield element
        position, room = position + 8 + size, room - len(element)


def _decompress(data: bytes, room: int) -> bytes:
    decompressor = zlib.decompressobj()
    # A byte more than there is room for, as zlib takes a limit of 0 for none.
    element = decompressor.decompress(data, max(room, 0) + 1)
    if not decompressor.eof or len(element) > room:
        raise ValueError(f"a part is not whole, or unpacks to over {MAX_CONTENT_BYTES:,} bytes")
    return element


def _check_variable(element: bytes) -> None:
    for kind, data in _elements(element):
        matlab_class, shape, rest = _header_of_array(kind, data)
        if matlab_class != _CELL:
            _check_numbers(matlab_class, shape, rest)
            continue
        if len(rest) != shape[0] * shape[1]:
            raise ValueError("a cell array is not whole")
        for inner in rest:
            _check_numbers(*_header_of_array(*inner))


def _header_of_array(kind: int, data: bytes) -> tuple[int, tuple[int, int], list]:
    """The MATLAB class, the shape, and the elements that follow."""
    parts = _elements(data) if kind == _MATRIX else []
    if [kind for kind, _ in parts[:3]] != [_UINT32, _INT32, _INT8]:
        raise ValueError("something is not an array")
    flags, shape, name = (part for _, part in parts[:3])
    if (len(flags), len(shape)) != (8, 8) or len(name) > 63 or flags[1] & ~_LOGICAL_FLAG:
        raise ValueError("an array is not a real matrix")
    rows, columns = struct.unpack("<ii", shape)
    if min(rows, columns) < 0:
        raise ValueError("an array has a negative size")
    return flags[0], (rows, columns), parts[3:]


def _check_numbers(matlab_class: int, shape: tuple[int, int], rest: list) -> None:
    if matlab_class not in _NUMERIC_CLASSES:
        raise ValueError(f"an array is of MATLAB class {matlab_class}, not numeric")
    if len(rest) != 1 or len(rest[0][1]) != shape[0] * shape[1] * _ITEM_BYTES.get(rest[0][0], -1):
        raise ValueError("an array is not whole")


def _elements(data: bytes) -> list[tuple[int, bytes]]:
    """Splits into elements: their type and content. They are padded to multiples of 8 bytes."""
    elements, position = [], 0
    while position < len(data):
        if len(elements) == _MAX_ELEMENTS:
            raise ValueError(f"an array has more than {MAX_CELLS:,} cells")
        kind, size = _tag(data, position)
        small = kind >> 16
        if small > 4:
            raise ValueError("a small element is too large")
        start, size = (position + 4, small) if small else (position + 8, size)
        elements.append((kind & 0xFFFF, data[start : start + size]))
        position += 8 if small else 8 + -(-size // 8) * 8
    if position != len(data):
        raise ValueError("an element is not whole")
    return elements


def _tag(data: bytes, position: int) -> tuple[int, int]:
    if position + 8 > len(data):
        raise ValueError("it ends too early")
    return struct.unpack_from("<II", data, position)
