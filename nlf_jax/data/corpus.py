"""A corpus: sequences in three splits, with their vocabulary."""

import dataclasses
import hashlib
from collections.abc import Mapping

import numpy as np

from nlf_jax.data.music.piano_roll import NUM_SYMBOLS
from nlf_jax.data.text.vocabulary import Vocabulary

SPLITS = ("train", "valid", "test")


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Sequences of one kind in three splits.

    Attributes:
        name: short name for messages.
        splits: "train", "valid" and "test"; int32 [T] symbol ids each, or bool [T, 88] each.
        vocabulary: of the text, taken from train only; None for music.
        max_length: no sequence is longer.
        fingerprint: SHA-256 over the vocabulary and every sequence of every split, in hexadecimal.
        num_symbols: V, the size of a model's output layer.
    """

    name: str
    splits: dict[str, list[np.ndarray]]
    vocabulary: Vocabulary | None
    max_length: int
    fingerprint: str
    num_symbols: int

    @property
    def vocabulary_json(self) -> str | None:
        """The vocabulary as JSON, if there is one."""
        return None if self.vocabulary is None else self.vocabulary.to_json()

    @property
    def is_text(self) -> bool:
        """Whether sequences are of symbols; else of frames of keys."""
        return self.vocabulary is not None or self.splits["train"][0].ndim == 1

    @classmethod
    def create(
        cls,
        name: str,
        splits: dict[str, list[np.ndarray]],
        *,
        vocabulary: Vocabulary | None,
        max_length: int,
        num_symbols: int | None = None,
    ) -> "Corpus":
        """A corpus with its fingerprint computed.

        Args:
            num_symbols: of ids without a vocabulary; with one, or for piano rolls, it is known.
        """
        known = NUM_SYMBOLS if vocabulary is None else len(vocabulary)
        found = _fingerprint(splits, vocabulary)
        return cls(name, splits, vocabulary, max_length, found, num_symbols or known)


def _fingerprint(splits: Mapping[str, list[np.ndarray]], vocabulary: Vocabulary | None) -> str:
    digest = hashlib.sha256(vocabulary.to_json().encode() if vocabulary else b"")
    for split in SPLITS:
        shapes = [(sequence.shape, sequence.dtype.str) for sequence in splits[split]]
        digest.update(repr((split, shapes)).encode())
        for sequence in splits[split]:
            digest.update(sequence.tobytes())
    return digest.hexdigest()
