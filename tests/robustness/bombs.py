"""Inputs that claim, repeat or unpack to far more than they are; each must soon be over.

    python -m tests.robustness.bombs

Mutations of small inputs do not reach these. Prints a JSON object of what each took.
"""

import json
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.process_memory import mbytes, reset_peak
from nlf_jax.data.music.mat_file import KEYS, MAX_CELLS, MAX_CONTENT_BYTES
from nlf_jax.models.config import MODELS
from nlf_jax.options import LENGTHS_BELOW
from tests.robustness.fuzz_targets import TARGETS

MAX_SECONDS, MAX_MEGABYTES = 5, 1000
_MAT_HEADER = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
_INT32, _UINT32, _UINT8, _INT8, _MATRIX, _COMPRESSED = 5, 6, 2, 1, 14, 15
_CELL_CLASS, _UINT8_CLASS = 1, 9
_MIDI_LENGTH = 990_000


class BombError(Exception):
    """An input took too long or too much memory; the text says which."""


def measure(name: str, directory: Path) -> dict[str, Any]:
    """Reads a bomb.

    Returns:
        Whether it was accepted, its bytes, seconds of the processor, and megabytes at the peak.

    Raises:
        BombError: it takes more than ``MAX_SECONDS`` or ``MAX_MEGABYTES``.
    """
    target, make = BOMBS[name]
    content = make()
    reset_peak()
    before, start = mbytes("VmRSS"), time.process_time()
    accepted = TARGETS[target].accepts(content, directory)
    seconds, megabytes = time.process_time() - start, mbytes("VmHWM") - before
    if seconds > MAX_SECONDS or megabytes > MAX_MEGABYTES:
        raise BombError(f"bomb {name!r} took {seconds:.1f} s and {megabytes:.0f} MB")
    took = {"cpu_seconds": round(seconds, 2), "megabytes": round(megabytes)}
    return {"bytes": len(content), "accepted": accepted} | took


def _element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def _array(matlab_class: int, shape: tuple[int, int], rest: bytes, name: bytes = b"") -> bytes:
    flags, sizes = struct.pack("<II", matlab_class, 0), struct.pack("<ii", *shape)
    head = _element(_UINT32, flags) + _element(_INT32, sizes) + _element(_INT8, name)
    return _element(_MATRIX, head + rest)


def _packed(data: bytes) -> bytes:
    content = zlib.compress(data)
    return struct.pack("<II", _COMPRESSED, len(content)) + content


def _gigantic_array() -> bytes:
    return _MAT_HEADER + _array(_UINT8_CLASS, (2**31 - 1, 2**31 - 1), _element(_UINT8, bytes(8)))


def _gigantic_cells() -> bytes:
    return _MAT_HEADER + _array(_CELL_CLASS, (1, 2**31 - 1), b"", b"traindata")


def _two_stages() -> bytes:
    """The first part unpacks to all that is allowed, so that there is no room for the second."""
    size = MAX_CONTENT_BYTES - len(_array(_UINT8_CLASS, (1, 8), _element(_UINT8, b"")))
    first = _array(_UINT8_CLASS, (1, size), _element(_UINT8, bytes(size)))
    return _MAT_HEADER + _packed(first) + _packed(bytes(MAX_CONTENT_BYTES)) * 100


def _many_elements() -> bytes:
    tiny = struct.pack("<II", _INT8, 0) * (MAX_CONTENT_BYTES // 8 - 2)
    return _MAT_HEADER + _packed(_element(_MATRIX, tiny))


def _many_variables() -> bytes:
    variable = _packed(_array(_UINT8_CLASS, (0, 0), _element(_UINT8, b""), b"x"))
    return _MAT_HEADER + variable * (15_000_000 // len(variable))


def _largest(num_cells: int) -> bytes:
    """Rolls of all the bytes that are allowed, in so many cells for each split."""
    rows = MAX_CONTENT_BYTES // len(KEYS) // num_cells // 88 - 2
    cell = _array(_UINT8_CLASS, (rows, 88), _element(_UINT8, bytes(rows * 88)))
    names = (key.encode() for key in KEYS.values())
    variables = (_array(_CELL_CLASS, (1, num_cells), cell * num_cells, name) for name in names)
    return _MAT_HEADER + b"".join(map(_packed, variables))


def _midi(track: bytes, *, tracks: int = 1, ticks_per_beat: int = 480) -> bytes:
    header = struct.pack(">4sLHHH4sL", b"MThd", 6, 1, tracks, ticks_per_beat, b"MTrk", len(track))
    return header + track


def _midi_of(message: bytes, start: bytes = b"") -> bytes:
    """As much of a message as fits."""
    return _midi(start + message * (_MIDI_LENGTH // len(message)))


def _midi_tracks() -> bytes:
    """As many as the header can tell."""
    return _midi(b"", tracks=2**16 - 1) + b"MTrk\x00\x00\x00\x04\x00\xff\x2f\x00" * (2**16 - 2)


def _lying_tracks() -> bytes:
    """Each claims all the rest of the file."""
    lengths = range(12 * 82_000, 0, -12)
    return _midi(b"") + b"".join(
        struct.pack(">4sL4s", b"MTrk", length - 8, b"\x00\xff\x2f\x00") for length in lengths
    )


def _let_go_again() -> bytes:
    """As many keys as fit in half a file, and "all notes off" for each, all in one moment."""
    keys = b"\x00\x90\x15\x40" + b"".join(bytes([0, key, 64]) for key in range(22, 109))
    track = struct.pack(">4sL", b"MTrk", len(keys)) + keys
    offs = b"\x00\xb0\x7b\x00" + b"\x00\x7b\x00" * 150_000
    return _midi(b"") + track * 1800 + struct.pack(">4sL", b"MTrk", len(offs)) + offs


def _long_piece() -> bytes:
    """A note of 9,990 beats at 10 frames a beat."""
    return _midi(b"\x00\x90\x40\x40\xce\x06\x40\x00", ticks_per_beat=1)


def _unpacks_to_too_much() -> bytes:
    return _MAT_HEADER + _packed(bytes(3 * MAX_CONTENT_BYTES)) * 30


def _every_character() -> bytes:
    return json.dumps({"symbols": list(map(chr, range(0x110000)))}).encode()


def _model(**values: int) -> bytes:
    """A run's config with other values, and its vocabulary."""
    config, _, vocabulary = TARGETS["model"].seeds()[MODELS.index("af_scf")].partition(b"\0")
    description = json.loads(config)
    description["config"] |= values
    description["data"] |= {name: values[name] for name in ("max_length",) if name in values}
    return json.dumps(description).encode() + b"\0" + vocabulary


def _model_file(header: bytes) -> bytes:
    """A file whose header is this and whose arrays are missing."""
    return b"\xff" + struct.pack("<Q", len(header)) + header


def _claimed_arrays() -> bytes:
    """A header that describes as many arrays of four gigabytes as fit."""
    arrays = (
        f'"{n}":{{"dtype":"F32","shape":[1073741824],"data_offsets":[0,4294967296]}}'
        for n in range(200_000)
    )
    return _model_file(("{" + ",".join(arrays) + "}").encode())


_LONG_NOTE = b"\x00\x90\x40\x40" + b"\xff\xff\xff\x7f\x90\x40\x00" + b"\x00\xff\x2f\x00"
_NESTED = b"[" * 500_000 + b"]" * 500_000
BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "text: one line": ("text", lambda: b"x" * 50_000_000),
    "text: one line of 4 bytes each": ("text", lambda: "😀".encode() * 12_500_000),
    "text: empty lines": ("text", lambda: b"\r\n" * 9_000_000),
    "text: lines of two letters": ("text", lambda: b"ab\n" * 300_000 + bytes(range(128)) * 100),
    "text: zeros": ("text", lambda: bytes(50_000_000)),
    "mat: gigantic array": ("mat", lambda: b"\x00" + _gigantic_array()),
    "mat: gigantic cell array": ("mat", lambda: b"\x00" + _gigantic_cells()),
    "mat: unpacks to gigabytes": ("mat", lambda: b"\x00" + _unpacks_to_too_much()),
    "mat: unpacks to gigabytes after a part": ("mat", lambda: b"\x00" + _two_stages()),
    "mat: tiny elements": ("mat", lambda: b"\x00" + _many_elements()),
    "mat: variables": ("mat", lambda: b"\x00" + _many_variables()),
    "mat: the largest allowed": ("mat", lambda: b"\x00" + _largest(1)),
    "mat: the most cells allowed": ("mat", lambda: b"\x00" + _largest(MAX_CELLS)),
    "midi: billions of ticks": ("midi", lambda: _midi(_LONG_NOTE)),
    "midi: 99,900 frames": ("midi", _long_piece),
    "midi: a number without end": ("midi", lambda: _midi_of(b"\xff")),
    "midi: program changes": ("midi", lambda: _midi_of(b"\x00\x00", b"\x00\xc0\x00")),
    "midi: notes": ("midi", lambda: _midi_of(b"\x00\x40\x40\x01\x40\x00", b"\x00\x90\x40\x00")),
    "midi: notes that never end": ("midi", lambda: _midi_of(b"\x00\x40\x40", b"\x00\x90\x40\x00")),
    "midi: tempo changes": ("midi", lambda: _midi_of(b"\x01\xff\x51\x03\xff\xff\xff")),
    "midi: system messages": ("midi", lambda: _midi_of(b"\x00\xf0\x00")),
    "midi: a long text": ("midi", lambda: _midi_of(b"\x00", b"\x00\xff\x01\xff\xff\xff\x7f")),
    "midi: tracks": ("midi", _midi_tracks),
    "midi: tracks in each other": ("midi", _lying_tracks),
    "midi: keys let go again and again": ("midi", _let_go_again),
    "midi: chunks": ("midi", lambda: _midi(b"") + b"abcd\x00\x00\x00\x00" * 120_000),
    "midi: a pedal": ("midi", lambda: _midi_of(b"\x00\x40\x7f\x01\x40\x00", b"\x00\xb0\x40\x00")),
    "config: nested lists": ("config", lambda: _NESTED),
    "config: a long number": ("config", lambda: b'{"format": ' + b"9" * 10_000_000 + b"}"),
    "model: as many layers as allowed": ("model", lambda: _model(lstm_layers=199, flow_layers=100)),
    "model: as many units as allowed": ("model", lambda: _model(hidden=99_999, embedding=99_999)),
    "model: as many steps as allowed": ("model", lambda: _model(max_length=LENGTHS_BELOW - 1)),
    "model file: a header without end": ("model_file", lambda: b"\xff" * 9 + b"{"),
    "model file: nested lists": ("model_file", lambda: _model_file(_NESTED)),
    "model file: claimed arrays": ("model_file", _claimed_arrays),
    "metrics: a line without end": ("metrics", lambda: b" " * 100_000_000),
    "metrics: nested lists": ("metrics", lambda: (_NESTED + b"\n") * 50),
    "metrics: rows": ("metrics", lambda: b'{"step": 1, "epoch": 0}\n' * 300_000),
    "best: nested lists": ("best", lambda: b'{"step": ' + _NESTED),
    "vocabulary: nested lists": ("vocabulary", lambda: b'{"symbols": ' + _NESTED + b"}"),
    "vocabulary: every character": ("vocabulary", _every_character),
    "flags: a long name": ("flags", lambda: b"--" + b"mo" * 100_000),
    "flags: a long number": ("flags", lambda: b"--row=" + b"9" * 1_000_000),
    "flags: many": ("flags", lambda: b"--row=1\n" * 10_000),
    "flags: many buckets": ("flags", lambda: b"--config.buckets=" + b"1," * 500_000),
}  # fmt: skip


def main() -> None:
    """Measures every bomb; see the module."""
    with tempfile.TemporaryDirectory() as directory:
        measured = {name: measure(name, Path(directory)) for name in BOMBS}
    print(json.dumps(measured, indent=2))


if __name__ == "__main__":
    sys.exit(main())
