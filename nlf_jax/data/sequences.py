"""A corpus from what a user has in Python: strings, arrays of ids, or piano rolls."""

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from nlf_jax.data.corpus import Corpus
from nlf_jax.data.music.piano_roll import check_roll
from nlf_jax.data.text.vocabulary import Vocabulary, find_control
from nlf_jax.errors import UserError

NAME = "sequences"


def corpus_of(
    sequences: Sequence[Any],
    validation: Any = 0.1,
    seed: int = 0,
    max_length: int | None = None,
) -> Corpus:
    """Training and validation sequences with their vocabulary; there is no test split.

    Args:
        sequences: all strings, all int [T] from 0, or all piano rolls [T, 88] of zeros and ones.
        validation: sequences of the same kind, or a share of ``sequences``, chosen by the seed.
        max_length: a longer one than the longest sequence's, for a model that is to draw longer.

    Raises:
        UserError: there are too few, or one is empty or of another kind.
    """
    sequences = _listed("sequences", sequences)
    is_text = isinstance(sequences[0], str)
    given = _checked(sequences, "sequence", is_text)
    if isinstance(validation, numbers.Real):
        train, valid = _split(given, float(validation), seed)
    else:
        validation = _listed("validation", validation)
        train, valid = given, _checked(validation, "validation sequence", is_text)
    if is_text:
        return _text_corpus(train, valid, max_length)
    return _array_corpus(train, valid, max_length)


def encoded(
    sequences: Sequence[Any],
    vocabulary: Vocabulary | None,
    num_symbols: int | None,
    unseen: str | None = None,
) -> list[np.ndarray]:
    """Sequences as a trained model takes them: ids int32 [T], or rolls bool [T, 88].

    Args:
        sequences: all strings, all ids [T], or all piano rolls [T, 88].
        vocabulary: of the model; None for plain ids and for music.
        num_symbols: of the model; None for music.
        unseen: as for ``Vocabulary.encode``.

    Raises:
        UserError: one is empty, of a kind that the model does not take, or has a symbol that it
            does not have.
    """
    sequences = _listed("sequences", sequences)
    is_text = isinstance(sequences[0], str)
    rows = _checked(sequences, "sequence", is_text)
    if is_text:
        if vocabulary is None:
            takes = "piano rolls [T, 88]" if num_symbols is None else "ids [T]"
            raise UserError(f"the sequences are texts: this model takes {takes}.")
        return [_encode(vocabulary, text, unseen, n) for n, text in enumerate(rows)]
    for number, row in enumerate(rows):
        _check_symbols(row, num_symbols, f"sequence {number}")
    return rows


def _encode(vocabulary: Vocabulary, text: str, unseen: str | None, number: int) -> np.ndarray:
    try:
        return vocabulary.encode(text, unseen)
    except UserError as error:
        raise UserError(f"sequence {number}: {error}") from error


def _check_symbols(row: np.ndarray, num_symbols: int | None, name: str) -> None:
    if (row.ndim == 2) != (num_symbols is None):
        found, takes = ("a piano roll", "ids [T]") if row.ndim == 2 else ("ids", "rolls [T, 88]")
        raise UserError(f"{name} is {found}: this model takes {takes}.")
    if num_symbols is not None and row.max() >= num_symbols:
        raise UserError(f"{name} has the id {row.max()}: the model's are 0 to {num_symbols - 1}.")


def _text_corpus(train: list[str], valid: list[str], max_length: int | None) -> Corpus:
    vocabulary = Vocabulary.from_lines(train)
    splits = [list(map(vocabulary.encode_known, texts)) for texts in (train, valid)]
    return _corpus(*splits, max_length, vocabulary=vocabulary)


def _array_corpus(
    train: list[np.ndarray], valid: list[np.ndarray], max_length: int | None
) -> Corpus:
    if len({x.ndim for x in train + valid}) > 1:
        raise UserError("some sequences are ids and some piano rolls: give one kind.")
    if train[0].ndim == 2:
        return _corpus(train, valid, max_length)
    num_symbols = 1 + max(int(x.max()) for x in train + valid)
    return _corpus(train, valid, max_length, num_symbols=num_symbols)


def _corpus(
    train: list[np.ndarray], valid: list[np.ndarray], max_length: int | None, **known: Any
) -> Corpus:
    longest = max(map(len, train + valid))
    max_length = longest if max_length is None else max_length
    if not isinstance(max_length, numbers.Integral) or max_length < longest:
        raise UserError(f"max_length is {max_length!r}: the longest sequence has {longest} steps.")
    splits = {"train": train, "valid": valid, "test": []}
    known = {"vocabulary": None, "max_length": int(max_length)} | known
    return Corpus.create(NAME, splits, **known)


def _checked(sequences: Sequence[Any], name: str, is_text: bool) -> list[Any]:
    check = _check_text if is_text else _check_array
    return [check(each, f"{name} {n}") for n, each in enumerate(sequences)]


def _check_text(text: Any, name: str) -> str:
    if not isinstance(text, str) or not text:
        raise UserError(f"{name} is not a string of at least one character.")
    position = find_control(text)
    if position is not None:
        raise UserError(
            f"{name} has the control character {text[position]!r} at position {position}; remove "
            "or replace it."
        )
    return text


def _check_array(given: Any, name: str) -> np.ndarray:
    if np.ma.is_masked(given):
        raise UserError(f"{name} is masked in places: leave these out, or fill them in.")
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise UserError(f"{name} is ragged: give ids [T] or a piano roll [T, 88].") from error
    array = check_roll(array, name) if array.ndim == 2 else _check_ids(array, name)
    if len(array) == 0:
        raise UserError(f"{name} is empty: it needs at least one step.")
    return array


def _check_ids(ids: np.ndarray, name: str) -> np.ndarray:
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise UserError(
            f"{name} has shape {list(ids.shape)} and type {ids.dtype}; a string, ids [T] of whole "
            "numbers or a piano roll [T, 88] is expected, the same kind for all."
        )
    if ids.size and not 0 <= ids.min() <= ids.max() < 2**20:
        raise UserError(f"{name} has ids from {ids.min()} to {ids.max()}; 0 to 2^20 - 1 fit.")
    return ids.astype(np.int32)


def _split(sequences: list[Any], share: float, seed: int) -> tuple[list[Any], list[Any]]:
    if not 0.0 < share < 1.0 or len(sequences) < 2:
        raise UserError(
            f"validation is {share} of {len(sequences)} sequences: a share between 0 and 1 of at "
            "least two is needed, or sequences of its own."
        )
    order = np.random.default_rng(seed).permutation(len(sequences))
    count = min(max(1, round(share * len(sequences))), len(sequences) - 1)
    held_out = set(order[:count].tolist())
    train = [each for n, each in enumerate(sequences) if n not in held_out]
    return train, [each for n, each in enumerate(sequences) if n in held_out]


def _listed(name: str, sequences: Any) -> Sequence[Any]:
    """The sequences as a list, also those of a user's array of them."""
    is_array = hasattr(sequences, "__array__") and np.ndim(sequences) > 0
    if not isinstance(sequences, list | tuple) and not is_array:
        kind = type(sequences).__name__
        raise UserError(f"{name} must be a list of at least one sequence, not a {kind}.")
    if len(sequences) == 0:
        raise UserError(f"{name} must be a list of at least one sequence, not an empty one.")
    return list(np.asanyarray(sequences) if is_array else sequences)
