"""Lines of text: reading, keeping and splitting them."""

import hashlib
import logging
import os
import re
from collections.abc import Sequence

from nlf_jax.errors import UserError

MIN_LINES, MAX_LINES = 20, 10_000_000
MAX_FILE_BYTES = 1_000_000_000
# Where to break a line, the best first: after a sentence, a clause, a phrase, a word.
_BREAKS = tuple(re.compile(rf".*{end} ") for end in ("[.?!]", "[:;]", ",", ""))
_logger = logging.getLogger(__name__)


def read_lines(path: str | os.PathLike) -> list[str]:
    """The lines of a UTF-8 file, as they are.

    Raises:
        UserError: the file cannot be read, is not UTF-8, is empty, or has more than 1 GB or ten
            million lines.
    """
    content = _read(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 text (byte {error.start}: {error.reason}); convert it to UTF-8."
        ) from error
    if not text:
        raise UserError(f"{path} is empty; give a text file with at least {MIN_LINES} lines.")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.count("\n") >= MAX_LINES:
        raise UserError(f"{path} has more than {MAX_LINES:,} lines; give a part of it.")
    return text.split("\n")


def _read(path: str | os.PathLike) -> bytes:
    try:
        with open(path, "rb") as file:
            # A file may say that it is short and never end, so both are looked at.
            too_large = os.fstat(file.fileno()).st_size > MAX_FILE_BYTES
            content = b"" if too_large else file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from error
    if too_large or len(content) > MAX_FILE_BYTES:
        raise UserError(f"{path} is larger than {MAX_FILE_BYTES:,} bytes; give a part of it.")
    return content


def keep_lines(lines: Sequence[str], max_length: int) -> tuple[list[str], int]:
    """Strips the lines; drops the empty ones and those of more than ``max_length`` characters.

    Returns:
        The kept lines in order, and how many were too long.
    """
    stripped = [line for line in map(str.strip, lines) if line]
    kept = [line for line in stripped if len(line) <= max_length]
    return kept, len(stripped) - len(kept)


def keep_lines_of(source: str, lines: Sequence[str], max_length: int) -> list[str]:
    """``keep_lines`` for text that nobody has checked before: warns, and refuses what is too small.

    Raises:
        UserError: no line is left, or fewer than ``MIN_LINES`` different ones.
    """
    kept, num_long = keep_lines(lines, max_length)
    if num_long:
        _logger.warning(
            "%s: dropped %d of %d lines that are longer than max_length=%d characters.",
            source, num_long, num_long + len(kept), max_length,
        )  # fmt: skip
    if not kept and num_long:
        raise UserError(
            f"All {num_long} lines of {source} are longer than max_length={max_length} characters; "
            "raise max_length or break the lines."
        )
    if not kept:
        raise UserError(f"{source} has only empty lines; give a text with at least {MIN_LINES}.")
    if len(set(kept)) < MIN_LINES:
        raise UserError(
            f"{source} has {len(set(kept))} different lines to use; at least {MIN_LINES} are "
            "needed to split it into training, validation and test lines."
        )
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
