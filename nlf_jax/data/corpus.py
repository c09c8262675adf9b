"""A corpus: sequences in three splits, with their vocabulary, and the ways to get a text one."""

import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence

import numpy as np

from nlf_jax.data import ptb, text
from nlf_jax.data.king_james import load_verses
from nlf_jax.data.vocabulary import Vocabulary
from nlf_jax.errors import UserError

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


def load_ptb(data_dir: str | os.PathLike | None = None, max_length: int = 288) -> Corpus:
    """Penn Treebank as characters: every line is a sequence, stripped.

    Lines longer than `max_length` are left out, 328 of the 42,068 training lines at 288.

    Args:
      data_dir: where ptb.{train,valid,test}.txt are, directly or in its folder `ptb`; None means
        NLF_DATA_DIR. Where they are not, they are downloaded.
      max_length: in characters.

    Raises:
      UserError: missing or changed files, no network, or no line short enough.
    """
    lines = ptb.load_lines(data_dir or os.environ.get("NLF_DATA_DIR") or None)
    kept = {split: text.keep_lines(lines[split], max_length)[0] for split in SPLITS}
    if not all(kept.values()):
        raise UserError(f"No line of Penn Treebank fits max_length={max_length}; raise it.")
    return _text_corpus("ptb_char", kept, max_length)


def load_text_file(path: str | os.PathLike, max_length: int = 288, *, seed: int = 0) -> Corpus:
    """The user's own text: every line is a sequence; the split is 90/5/5 by hash of the line.

    Lines are stripped; empty ones are left out, and so are, with a logged warning, those longer
    than `max_length`. Characters that only valid or test have become the unknown symbol.

    Raises:
      UserError: the file cannot be read, is not UTF-8, or has fewer than 20 different lines to use.
    """
    lines = text.keep_lines_of(str(path), text.read_lines(path), max_length)
    return _text_corpus(os.path.basename(path), text.split_by_hash(lines, seed), max_length)


def load_quickstart(max_length: int = 288) -> Corpus:
    """The King James Bible in verses, those longer than `max_length` cut where a clause ends.

    What repeats an earlier line is left out, and the split is by hash of the line. No test line
    is a training line, then, but the rest of its verse and the verses around it mostly are, and
    so are passages that the Bible tells twice in nearly the same words: the score is one for new
    sentences of a known book, as for Penn Treebank's lines.

    Raises:
      UserError: the package with the text is not there or not whole.
    """
    pieces = [piece for verse in load_verses() for piece in text.break_line(verse, max_length)]
    lines = text.split_by_hash(list(dict.fromkeys(pieces)))
    return _text_corpus("quickstart", lines, max_length)


def _text_corpus(name: str, lines: Mapping[str, Sequence[str]], max_length: int) -> Corpus:
    vocabulary = Vocabulary.from_lines(lines["train"])
    splits = {split: list(map(vocabulary.encode_known, lines[split])) for split in SPLITS}
    return Corpus.create(name, splits, vocabulary=vocabulary, max_length=max_length)


def _fingerprint(splits: Mapping[str, list[np.ndarray]], vocabulary: Vocabulary | None) -> str:
    digest = hashlib.sha256(vocabulary.to_json().encode() if vocabulary else b"")
    for split in SPLITS:
        shapes = [(sequence.shape, sequence.dtype.str) for sequence in splits[split]]
        digest.update(repr((split, shapes)).encode())
        for sequence in splits[split]:
            digest.update(sequence.tobytes())
    return digest.hexdigest()
