"""A model as one file: its arrays, and what it takes to use them, in the safetensors format.

The metadata are texts: ``format`` (of the config, as in a workdir), ``experiment``, ``config``,
``data`` and ``source`` (JSON; without paths), ``vocabulary`` (JSON; not for music), ``steps`` and
``version`` of nlf_jax. A file may come from anyone: everything is checked before an array is made.
"""

import contextlib
import json
import math
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from nlf_jax.errors import UserError
from nlf_jax.files import json_value, open_regular, write_atomically
from nlf_jax.models import SequenceModel
from nlf_jax.training.arrays import Arrays, from_arrays, shapes_of, to_arrays
from nlf_jax.training.checkpoint_reading import Shapes, first_line
from nlf_jax.training.template import model_template
from nlf_jax.training.workdir import Description, checked_description

MAX_BYTES, MAX_HEADER_BYTES = 2**36, 2**24
_MAX_DIGITS = 18
_METADATA, _PRIOR = "__metadata__", "length_log_prob"
_PARTS = ("config", "data", "source")
_NAMES = {*_PARTS, "format", "experiment", "steps", "version"}
_DTYPES: dict[np.dtype, str] = {np.dtype(np.float32): "F32"}


class Loaded(NamedTuple):
    """A trained model, the description of its run and its training steps."""

    description: Description
    model: SequenceModel
    steps: int


def write_model_file(path: Path, loaded: Loaded, version: str) -> None:
    """Writes a model and what it takes to use it.

    Args:
        path: replaced if it exists.
        version: of nlf_jax.

    Raises:
        UserError: it cannot be written.
    """
    description, vocabulary = loaded.description, loaded.model.vocabulary
    parts = _without_paths(description)
    metadata = {name: json.dumps(parts[name], sort_keys=True) for name in _PARTS}
    metadata |= {"format": str(description["format"]), "experiment": description["experiment"]}
    metadata |= {"steps": str(loaded.steps), "version": version}
    if vocabulary is not None:
        metadata["vocabulary"] = vocabulary.to_json()
    write_atomically(path, safetensors.numpy.save(to_arrays(loaded.model), metadata))


def read_model_file(path: Path) -> Loaded:
    """What ``write_model_file`` wrote, checked.

    Raises:
        UserError: there is no such file, it cannot be read, it is damaged, not of this kind, or of
            a newer version.
    """
    with _opened(path) as file:
        header = _read_header(file)
        metadata = _metadata(header)
        description, steps = _description(metadata, path), _whole_number(metadata["steps"])
        template = model_template(
            description,
            metadata.get("vocabulary"),
            config_in=str(path),
            vocabulary_in=f"the vocabulary in {path}",
        )
        expected = shapes_of(template)
        _check_arrays(header, expected)
        arrays = _read_arrays(file, expected)
        _check_values(arrays)
        return Loaded(description, from_arrays(template, arrays), steps)


def read_file_description(path: Path) -> Description:
    """The description in a model's file; its arrays are neither read nor checked.

    Raises:
        UserError: as ``read_model_file``.
    """
    with _opened(path) as file:
        return _description(_metadata(_read_header(file)), path)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with open_regular(path, MAX_BYTES) as file:
            yield file
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}: `nlf export WORKDIR` makes one.") from error
    except (ValueError, SafetensorError) as error:
        raise UserError(
            f"{path} is no model of nlf_jax, or damaged ({first_line(error)}): get or export it "
            "again."
        ) from error


def _read_header(file: BinaryIO) -> dict[str, Any]:
    """The header: what there is by name, the metadata among it."""
    start = file.read(8)
    if len(start) < 8:
        raise ValueError("it has no header")
    (size,) = struct.unpack("<Q", start)
    if size > min(MAX_HEADER_BYTES, os.fstat(file.fileno()).st_size - 8):
        raise ValueError(f"its header would have {size:,} bytes")
    header = json_value(file.read(size))
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    return header


def _metadata(header: dict[str, Any]) -> dict[str, str]:
    """Takes the metadata out of the header."""
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict):
        raise ValueError("its metadata are no JSON object")
    if missing := sorted(_NAMES - metadata.keys()):
        raise ValueError(f"it doesn't say its {', '.join(missing)}")
    if not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its metadata are not all texts")
    return metadata


def _description(metadata: Mapping[str, str], path: Path) -> Description:
    parts: Description = {name: json_value(metadata[name]) for name in _PARTS}
    parts |= {"format": _whole_number(metadata["format"]), "experiment": metadata["experiment"]}
    return _without_paths(checked_description(parts, path, "get or export it again"))


def _without_paths(description: Description) -> Description:
    """A file's paths would be of the machine that it was trained on, or those its maker likes."""
    source = description.get("source", {})
    kept = {n: v for n, v in source.items() if not n.endswith(("_dir", "_file"))}
    return description | {"source": kept}


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS):
        raise ValueError("a number in its metadata is none")
    return int(text)


def _check_arrays(header: Mapping[str, Any], expected: Shapes) -> None:
    """Raises a ValueError unless the header has just these names, shapes and types."""
    if header.keys() != expected.keys():
        other = ", ".join(sorted(header.keys() ^ expected.keys())[:3])
        raise ValueError(f"other parameters than this model's, for instance {other}")
    for name, wanted in expected.items():
        described, dtype = header[name], _DTYPES[np.dtype(wanted.dtype)]
        found = described if isinstance(described, dict) else {}
        if (found.get("dtype"), found.get("shape")) != (dtype, list(wanted.shape)):
            raise ValueError(f"{name} is not {wanted.dtype}{list(wanted.shape)}")


def _read_arrays(file: BinaryIO, expected: Shapes) -> Arrays:
    """The arrays, if the file has as many bytes as they take."""
    sizes = (math.prod(each.shape) * np.dtype(each.dtype).itemsize for each in expected.values())
    wanted, found = file.tell() + sum(sizes), os.fstat(file.fileno()).st_size
    if found != wanted:
        raise ValueError(f"it has {found:,} bytes, not {wanted:,}")
    file.seek(0)
    return safetensors.numpy.load(file.read(wanted))


def _check_values(arrays: Arrays) -> None:
    """Raises a ValueError for parameters that are not finite, and for a prior that is none."""
    for name, array in arrays.items():
        if name != _PRIOR and not np.isfinite(array).all():
            raise ValueError(f"{name} has values that are not finite")
    # The logarithm of 0 is right: lengths that never occurred.
    with np.errstate(over="ignore", invalid="ignore"):
        probabilities = np.exp(arrays[_PRIOR].astype(np.float64))
    if not (abs(probabilities.sum() - 1) < 1e-3 and probabilities[1:].any()):
        raise ValueError("its length prior is no distribution")
