"""Scores of methods without learning, beside which a model's bits per character can be read.

All use the convention of the models' scores: bits over a split divided by sum(T + 1), the end of
a line counted as one symbol.
"""

import lzma

import numpy as np

from nlf_jax.data.corpus import Corpus
from nlf_jax.data.text.vocabulary import PADDING_ID, Vocabulary
from nlf_jax.errors import UserError


def bits_per_symbol(corpus: Corpus, split: str = "test") -> dict[str, float]:
    """Baseline scores of a split of a text corpus, in bits per symbol.

    uniform: every id of the vocabulary is as likely (the end of line takes the place of padding).
    unigram: frequencies of the training split, one added to every count.
    lzma: the bytes by which the compressed training text grows when the split is appended.

    Raises:
        UserError: the corpus is not of text.
    """
    if corpus.vocabulary is None:
        raise UserError(f"{corpus.name} is no text: it has no baselines.")
    train, held_out = corpus.splits["train"], corpus.splits[split]
    num_ids = len(corpus.vocabulary)
    return {
        "uniform": float(np.log2(num_ids)),
        "unigram": _unigram(train, held_out, num_ids),
        "lzma": _lzma(train, held_out, corpus.vocabulary),
    }


def _unigram(train: list[np.ndarray], held_out: list[np.ndarray], num_ids: int) -> float:
    counts = _counts(train, num_ids) + 1
    held_out_counts = _counts(held_out, num_ids)
    bits = -held_out_counts @ np.log2(counts / counts.sum())
    return float(bits / held_out_counts.sum())


def _counts(sequences: list[np.ndarray], num_ids: int) -> np.ndarray:
    """How often each id occurs, ends of line under ``PADDING_ID``: int [num_ids]."""
    counts = np.bincount(np.concatenate(sequences), minlength=num_ids)
    counts[PADDING_ID] += len(sequences)
    return counts


def _lzma(train: list[np.ndarray], held_out: list[np.ndarray], vocabulary: Vocabulary) -> float:
    before = _as_bytes(train, vocabulary)
    after = before + _as_bytes(held_out, vocabulary)
    growth = len(lzma.compress(after)) - len(lzma.compress(before))
    return 8 * growth / sum(len(sequence) + 1 for sequence in held_out)


def _as_bytes(sequences: list[np.ndarray], vocabulary: Vocabulary) -> bytes:
    lines = (vocabulary.decode(row[None], np.array([len(row)]))[0] for row in sequences)
    return "".join(f"{line}\n" for line in lines).encode()
