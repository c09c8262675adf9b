"""Lines of text: reading, keeping and splitting them."""

import hashlib
import itertools
import logging
import os
import re
from collections.abc import Sequence

import numpy as np

from nlf_jax.data.data_file import open_data_file
from nlf_jax.data.text.vocabulary import find_control
from nlf_jax.errors import UserError

MIN_LINES, MAX_LINES = 20, 10_000_000
MAX_FILE_BYTES = 1_000_000_000
_SAMPLE_BYTES = 1_000_000
_MARKS = (b"\xff\xfe\0\0", b"\0\0\xfe\xff", b"\xff\xfe", b"\xfe\xff")
# Which of four bytes are often 0.
_WIDE_ZEROS = dict.fromkeys([(0, 2), (1, 3)], "UTF-16") | dict.fromkeys(
    [(0, 1), (0, 1, 2), (2, 3), (1, 2, 3)], "UTF-32"
)
# Where to break a line, the best first: after a sentence, a clause, a phrase, a word.
_BREAKS = tuple(re.compile(rf".*{end} ") for end in ("[.?!]", "[:;]", ",", ""))
_logger = logging.getLogger(__name__)


def read_lines(path: str | os.PathLike) -> list[str]:
    """The lines of a UTF-8 file, as they are.

    Raises:
        UserError: the file cannot be read, is not UTF-8, is empty, has a control character other
            than tab, newline and form feed, or has more than 1 GB or ten million lines.
    """
    content = _read(path)
    if not content:
        raise UserError(f"{path} is empty; give a text file with at least {MIN_LINES} lines.")
    return lines_of(content, path)


def lines_of(content: bytes, source: str | os.PathLike) -> list[str]:
    """The lines of text in UTF-8, as they are; ``source`` is its name in messages.

    Raises:
        UserError: as ``read_lines``.
    """
    text = _decode(content, source).replace("\r\n", "\n").replace("\r", "\n")
    if not text:
        raise UserError(f"{source} has no text; give some.")
    if text.count("\n") >= MAX_LINES:
        raise UserError(f"{source} has more than {MAX_LINES:,} lines; give a part of it.")
    _require_plain(text, source)
    return text.removesuffix("\n").split("\n")


def _read(path: str | os.PathLike) -> bytes:
    with open_data_file(path) as file:
        # A file may say that it is short and never end, so both are looked at.
        too_large = os.fstat(file.fileno()).st_size > MAX_FILE_BYTES
        content = b"" if too_large else file.read(MAX_FILE_BYTES + 1)
    if too_large or len(content) > MAX_FILE_BYTES:
        raise UserError(f"{path} is larger than {MAX_FILE_BYTES:,} bytes; give a part of it.")
    return content


def _decode(content: bytes, path: str | os.PathLike) -> str:
    wide = _wide_encoding(content)
    if wide:
        raise UserError(f"{path} looks like {wide}; save it as UTF-8.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 text (byte {error.start}: {error.reason}); convert it to UTF-8."
        ) from error


def _wide_encoding(content: bytes) -> str | None:
    """UTF-16 or UTF-32, if that is what the text seems to be in, with its mark or without."""
    for mark in _MARKS:
        if content.startswith(mark):
            return f"UTF-{8 * len(mark)}"
    start = np.frombuffer(content[:_SAMPLE_BYTES], np.uint8)
    zeros = np.bincount(np.flatnonzero(start == 0) % 4, minlength=4)
    # Every text has some ASCII, if only its line ends.
    return _WIDE_ZEROS.get(tuple(np.flatnonzero(zeros > start.size / 800).tolist()))


def _require_plain(text: str, path: str | os.PathLike) -> None:
    position = find_control(text)
    if position is not None:
        line = text.count("\n", 0, position) + 1
        column = position - text.rfind("\n", 0, position)
        raise UserError(
            f"{path} has the control character {text[position]!r} in line {line}, column {column}: "
            "remove it, or give a file of plain text."
        )


def keep_lines(
    lines: Sequence[str],
    max_length: int,
    *,
    strip: bool,
    unique: bool = False,
    windows: bool = False,
) -> tuple[list[str], dict[str, int]]:
    """The lines that are neither blank nor of more than ``max_length`` characters, in order.

    Args:
        strip: whether spaces at both ends of a line are left out.
        unique: whether a line that is there already is left out.
        windows: whether a longer line is cut into parts of equal length, instead of left out.

    Returns:
        The kept lines, and how many were left out as "blank", "long" and "repeated".
    """
    filled = [line.strip() if strip else line for line in lines if line.strip()]
    parts = [part for line in filled for part in _cut(line, max_length)] if windows else filled
    fitting = [line for line in parts if len(line) <= max_length]
    kept = list(dict.fromkeys(fitting)) if unique else fitting
    left_out = {
        "blank": len(lines) - len(filled),
        "long": len(parts) - len(fitting),
        "repeated": len(fitting) - len(kept),
    }
    return kept, left_out


def _cut(line: str, max_length: int) -> list[str]:
    """Parts of equal length, as pieces of music are cut."""
    number = -(-len(line) // max_length)
    ends = [len(line) * n // number for n in range(number + 1)]
    return [line[start:end] for start, end in itertools.pairwise(ends)]


def keep_lines_of(source: str, lines: Sequence[str], max_length: int, **how: bool) -> list[str]:
    """``keep_lines`` for text that nobody has checked before: says what was left out.

    Raises:
        UserError: fewer than ``MIN_LINES`` different lines are left, or there would be more than
            ten million windows.
    """
    if how.get("windows") and sum(map(len, lines)) > MAX_LINES * max_length:
        raise UserError(
            f"{source} is more than {MAX_LINES:,} windows of max_length={max_length} characters; "
            "give a part of it."
        )
    kept, left_out = keep_lines(lines, max_length, **how)
    long = f"longer than max_length={max_length} characters"
    if not kept and left_out["long"]:
        raise UserError(
            f"No line of {source} fits, {left_out['long']:,} are {long}: cut them with --windows, "
            "or raise that with --config.max_length."
        )
    if not kept:
        raise UserError(f"{source} has only empty lines; give a text with at least {MIN_LINES}.")
    reasons = {"blank": "blank", "long": f"{long} (--windows cuts them)", "repeated": "repeated"}
    counts = [f"{left_out[name]:,} {reason}" for name, reason in reasons.items() if left_out[name]]
    left_out_in_words = f"left out {', '.join(counts) or 'none'}"
    if len(set(kept)) < MIN_LINES:
        raise UserError(
            f"{source} has {len(set(kept))} different lines to use ({left_out_in_words}); at least "
            f"{MIN_LINES} are needed to split it into training, validation and test lines."
        )
    if counts:
        _logger.warning("%s: kept %s lines, %s.", source, f"{len(kept):,}", left_out_in_words)
    return kept


def break_line(line: str, max_length: int) -> list[str]:
    """Cuts a line into pieces of at most ``max_length`` characters.

    A piece ends with the last sentence that fits, else with the last clause, phrase or word; a
    word that is longer is cut too. The spaces between pieces are left out, and nothing else is.
    """
    pieces, line = [], line.strip()
    while len(line) > max_length:
        matches = (mark.match(line, 0, max_length + 1) for mark in _BREAKS)
        end = next((match.end() for match in matches if match), max_length)
        pieces.append(line[:end].rstrip())
        line = line[end:].lstrip()
    return [*pieces, line]


def split_by_hash(lines: Sequence[str], seed: int = 0) -> dict[str, list[str]]:
    """Splits into 90% train, 5% valid and 5% test of the different lines, by hash.

    The split of a line depends on the set of lines and the seed, not on their order, and all the
    copies of a line are in one split: no test line occurs in train.
    """
    ranked = sorted(set(lines), key=lambda line: _hash(line, seed))
    num_held_out = len(ranked) // 20
    valid, test = set(ranked[:num_held_out]), set(ranked[num_held_out : 2 * num_held_out])
    return {
        "train": [line for line in lines if line not in valid and line not in test],
        "valid": [line for line in lines if line in valid],
        "test": [line for line in lines if line in test],
    }


def _hash(line: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed} {line}".encode("utf-8", "surrogatepass")).digest()
