"""Reading the published .mat files of piano rolls, without trusting them."""

import io
import os
import struct
import zlib

import numpy as np
import scipy.io

from nlf_jax.data.piano_roll import check_roll
from nlf_jax.errors import UserError

KEYS = {"train": "traindata", "valid": "validdata", "test": "testdata"}
MAX_FILE_BYTES = 16_000_000
MAX_CONTENT_BYTES = 200_000_000
_COMPRESSED = 15


def read_rolls(content: bytes, name: str | os.PathLike) -> dict[str, list[np.ndarray]]:
    """The piano rolls of a MATLAB 5 file with the variables traindata, validdata and testdata.

    Args:
      content: the bytes of the file.
      name: the file's name, for the message.

    Returns:
      bool [T, 88] each, in the splits "train", "valid" and "test".

    Raises:
      UserError: the file is damaged, too large, or holds anything else than that.
    """
    if len(content) > MAX_FILE_BYTES:
        raise UserError(f"{name} is larger than {MAX_FILE_BYTES:,} bytes, too large to be it.")
    _check_content_size(content, name)
    variables = _load(content, name)
    missing = [key for key in KEYS.values() if key not in variables]
    if missing:
        raise UserError(
            f"{name} has no {', '.join(missing)}; it must hold the cell arrays "
            f"{', '.join(KEYS.values())}."
        )
    return {split: _rolls_of(variables[key], key, name) for split, key in KEYS.items()}


def _load(content: bytes, name: str | os.PathLike) -> dict[str, np.ndarray]:
    # A BytesIO, as scipy takes a path without the suffix .mat for one where it is missing.
    try:
        return scipy.io.loadmat(io.BytesIO(content), variable_names=list(KEYS.values()))
    except Exception as error:  # scipy lets through whatever its internals run into
        raise UserError(f"{name} is truncated or damaged ({error}); get it anew.") from error


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
    if not all(len(roll) for roll in rolls):
        raise UserError(f"{key} of {name} holds an empty piano roll.")
    return rolls


def _check_content_size(content: bytes, name: str | os.PathLike) -> None:
    """Walks over the top-level elements, decompressing in small pieces, as scipy sets no limit."""
    if len(content) < 128 or content[124:128] != b"\x00\x01IM":
        raise UserError(f"{name} is not a MATLAB 5 file, or truncated; get it anew.")
    position, total = 128, 0
    while position + 8 <= len(content) and total <= MAX_CONTENT_BYTES:
        kind, size = struct.unpack_from("<II", content, position)
        data = memoryview(content)[position + 8 : position + 8 + size]
        total += _decompressed_size(data) if kind == _COMPRESSED else len(data)
        position += 8 + size
    if total > MAX_CONTENT_BYTES:
        raise UserError(f"{name} unpacks to more than {MAX_CONTENT_BYTES:,} bytes; not used.")


def _decompressed_size(data: bytes | memoryview, piece: int = 2**20) -> int:
    """The size of zlib data, or a number over the limit; damage is for scipy to find."""
    decompressor, size = zlib.decompressobj(), 0
    try:
        while size <= MAX_CONTENT_BYTES and not decompressor.eof:
            unpacked = decompressor.decompress(data, piece)
            if not unpacked:
                break
            size, data = size + len(unpacked), decompressor.unconsumed_tail
    except zlib.error:
        return size
    return size
