"""A corpus from what a user has in Python: strings, arrays of ids, or piano rolls."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nlf_jax.data.corpus import Corpus
from nlf_jax.data.music.piano_roll import check_roll
from nlf_jax.data.text.vocabulary import Vocabulary
from nlf_jax.errors import UserError

NAME = "sequences"


def corpus_of(
    sequences: Sequence[Any], validation: Sequence[Any] | float = 0.1, seed: int = 0
) -> Corpus:
    """Training and validation sequences with their vocabulary; there is no test split.

    Args:
        sequences: all strings, all int [T] from 0, or all piano rolls [T, 88] of zeros and ones.
        validation: sequences of the same kind, or a share of ``sequences``, chosen by the seed.

    Raises:
        UserError: there are too few, or one is empty or of another kind.
    """
    _require_list("sequences", sequences)
    if isinstance(validation, int | float):
        train, valid = _split(list(sequences), validation, seed)
    else:
        _require_list("validation", validation)
        train, valid = list(sequences), list(validation)
    if isinstance(train[0], str):
        return _text_corpus(train, valid)
    return _array_corpus([np.asarray(each) for each in train], [np.asarray(each) for each in valid])


def _text_corpus(train: list[str], valid: list[str]) -> Corpus:
    for number, text in enumerate(train + valid):
        if not isinstance(text, str) or not text:
            raise UserError(f"sequence {number} is not a string of at least one character.")
    vocabulary = Vocabulary.from_lines(train)
    splits = [list(map(vocabulary.encode_known, texts)) for texts in (train, valid)]
    return _corpus(*splits, vocabulary=vocabulary)


def _array_corpus(train: list[np.ndarray], valid: list[np.ndarray]) -> Corpus:
    rolls = train[0].ndim == 2
    to_array = check_roll if rolls else _check_ids
    splits = [[to_array(x, f"Sequence {n}") for n, x in enumerate(each)] for each in (train, valid)]
    if any(len(x) == 0 for each in splits for x in each):
        raise UserError("a sequence is empty: each needs at least one step.")
    if rolls:
        return _corpus(*splits)
    return _corpus(*splits, num_symbols=1 + max(int(x.max()) for each in splits for x in each))


def _corpus(train: list[np.ndarray], valid: list[np.ndarray], **known: Any) -> Corpus:
    longest = max(map(len, train + valid))
    splits = {"train": train, "valid": valid, "test": []}
    return Corpus.create(NAME, splits, max_length=longest, **{"vocabulary": None} | known)


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


def _require_list(name: str, sequences: Any) -> None:
    if isinstance(sequences, str) or len(sequences) == 0:
        raise UserError(f"{name} must be a list of at least one sequence, not one string.")
