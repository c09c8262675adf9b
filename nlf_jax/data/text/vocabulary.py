"""Symbols of a text corpus and their integer ids."""

import dataclasses
import functools
import json
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from nlf_jax.errors import UserError

UNKNOWN_ID = 0
PADDING_ID = 1
NUM_SPECIAL = 2
UNKNOWN_CHARACTER = "\N{REPLACEMENT CHARACTER}"
# A terminal would obey them, and a surrogate is half a character. Tab, newline and form feed are
# text.
_CONTROL = re.compile("[\0-\x08\x0b\r-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Single-character symbols in sorted order; id 0 is unknown, id 1 padding.

    ``symbols[i]`` has id ``i + 2``, so that ``len(vocabulary)`` is the size of a model's output
    layer. Hashable, so that it can be static metadata of a JAX pytree.

    Raises:
        UserError: the symbols are not distinct, sorted single characters, or one is a control
            character or a lone surrogate.
    """

    symbols: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.symbols or any(len(symbol) != 1 for symbol in self.symbols):
            raise UserError("A vocabulary needs at least one symbol, each a single character.")
        if list(self.symbols) != sorted(set(self.symbols)):
            raise UserError("The symbols of a vocabulary must be distinct and in sorted order.")
        position = find_control("".join(self.symbols))
        if position is not None:
            raise UserError(
                f"A vocabulary cannot have {self.symbols[position]!r}: remove control characters "
                "and lone surrogates from the text."
            )

    @classmethod
    def from_lines(cls, lines: Iterable[str]) -> "Vocabulary":
        """The vocabulary of every character that occurs in ``lines``."""
        return cls(tuple(sorted(set("".join(lines)))))

    @classmethod
    def from_json(cls, text: str) -> "Vocabulary":
        """Reads what ``to_json`` wrote.

        Raises:
            UserError: ``text`` is not such a document.
        """
        try:
            symbols = json.loads(text)["symbols"]
            if not all(isinstance(symbol, str) for symbol in symbols):
                raise TypeError
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(
                "The vocabulary file is damaged: expected a list of symbols."
            ) from error
        return cls(tuple(symbols))

    def to_json(self) -> str:
        """A JSON document ``{"symbols": [...]}``."""
        return json.dumps({"symbols": list(self.symbols)})

    def __len__(self) -> int:
        return len(self.symbols) + NUM_SPECIAL

    def encode(self, text: str, unseen: str | None = None) -> np.ndarray:
        """Ids of ``text``, int32 [T].

        Args:
            text: any string.
            unseen: the symbol that takes the place of characters outside the vocabulary.

        Raises:
            UserError: a character is outside the vocabulary and ``unseen`` is None (the message
                names it and its position), or ``unseen`` is outside too.
        """
        ids = self.encode_known(text)
        strangers = np.flatnonzero(ids == UNKNOWN_ID)
        if unseen is not None:
            ids[strangers] = self._id_of(unseen)
        elif strangers.size:
            position = int(strangers[0])
            raise UserError(
                f"Symbol {text[position]!r} at position {position} is not among the "
                f"{len(self.symbols)} symbols of this vocabulary: remove it, or replace it by "
                "--unseen=SYMBOL (in Python: unseen)."
            )
        return ids

    def _id_of(self, symbol: str) -> int:
        if symbol not in self.symbols:
            raise UserError(
                f"--unseen is {symbol!r}: choose one of the {len(self.symbols)} symbols of this "
                "vocabulary."
            )
        return self.symbols.index(symbol) + NUM_SPECIAL

    def encode_known(self, text: str) -> np.ndarray:
        """Ids of ``text``, int32 [T], with ``UNKNOWN_ID`` for characters outside the vocabulary."""
        codes = _code_points(text)
        positions = np.searchsorted(self._codes, codes)
        known = self._codes[np.minimum(positions, len(self._codes) - 1)] == codes
        return np.where(known, positions + NUM_SPECIAL, UNKNOWN_ID).astype(np.int32)

    def decode(self, ids: np.ndarray, lengths: np.ndarray) -> list[str]:
        """Texts of right-padded rows: ids int [N, T], lengths int [N].

        The two special ids inside a row are shown as U+FFFD, so a text keeps its length.

        Raises:
            UserError: they are of another form, or an id or a length is none.
        """
        ids, lengths = _batch(ids, lengths)
        mask = np.arange(ids.shape[1]) < lengths[:, None]
        if ((lengths < 0) | (lengths > ids.shape[1])).any():
            raise UserError(f"a length is not one of 0 to {ids.shape[1]}, the steps of a row.")
        if (mask & ((ids < 0) | (ids >= len(self)))).any():
            raise UserError(f"an id is not one of 0 to {len(self) - 1}, which this vocabulary has.")
        table = (UNKNOWN_CHARACTER,) * NUM_SPECIAL + self.symbols
        rows = zip(ids.tolist(), lengths.tolist(), strict=True)
        return ["".join(table[i] for i in row[:length]) for row, length in rows]

    @functools.cached_property
    def _codes(self) -> np.ndarray:
        return _code_points("".join(self.symbols))


def _batch(ids: Any, lengths: Any) -> tuple[np.ndarray, np.ndarray]:
    try:
        ids, lengths = np.asarray(ids), np.asarray(lengths)
    except ValueError:
        ids = lengths = np.zeros(())
    kinds = {ids.dtype.kind, lengths.dtype.kind}
    if ids.ndim != 2 or lengths.shape != ids.shape[:1] or not kinds <= {"i", "u"}:
        raise UserError("give ids [N, T] and lengths [N], both whole numbers: a batch of texts.")
    return ids, lengths


def _code_points(text: Any) -> np.ndarray:
    if not isinstance(text, str):
        raise UserError(f"the text is a {type(text).__name__}: give a string.")
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def find_control(text: str) -> int | None:
    """Position of the first control character or lone surrogate, if there is one.

    Tab, newline and form feed are taken for text.
    """
    found = _CONTROL.search(text)
    return None if found is None else found.start()
