"""A corpus: sequences in three splits, with their vocabulary."""

import dataclasses
import hashlib
from collections.abc import Mapping

import numpy as np

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
    """

    name: str
    splits: dict[str, list[np.ndarray]]
    vocabulary: Vocabulary | None
    max_length: int
    fingerprint: str

    @classmethod
    def create(
        cls,
        name: str,
        splits: dict[str, list[np.ndarray]],
        *,
        vocabulary: Vocabulary | None,
        max_length: int,
    ) -> "Corpus":
        """A corpus with its fingerprint computed."""
        return cls(name, splits, vocabulary, max_length, _fingerprint(splits, vocabulary))


def _fingerprint(splits: Mapping[str, list[np.ndarray]], vocabulary: Vocabulary | None) -> str:
    digest = hashlib.sha256(vocabulary.to_json().encode() if vocabulary else b"")
    for split in SPLITS:
        shapes = [(sequence.shape, sequence.dtype.str) for sequence in splits[split]]
        digest.update(repr((split, shapes)).encode())
        for sequence in splits[split]:
            digest.update(sequence.tobytes())
    return digest.hexdigest()
