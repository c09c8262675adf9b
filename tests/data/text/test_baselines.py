import math

import numpy as np
import pytest

from nlf_jax.data.corpus import Corpus
from nlf_jax.data.text.baselines import bits_per_symbol
from nlf_jax.data.text.vocabulary import Vocabulary


def _corpus(train, test):
    vocabulary = Vocabulary.from_lines(train)
    splits = {"train": train, "valid": test, "test": test}
    encoded = {s: list(map(vocabulary.encode_known, lines)) for s, lines in splits.items()}
    return Corpus.create("x", encoded, vocabulary=vocabulary, max_length=99)


def test_by_hand():
    scores = bits_per_symbol(_corpus(["aab", "b"], ["ab", "z"]))
    # Counts + 1 of unknown, end of line, a, b: 1, 3, 3, 3. Test: a, b, end, unknown, end.
    assert scores["uniform"] == pytest.approx(2)
    assert scores["unigram"] == pytest.approx(-(4 * math.log2(3 / 10) + math.log2(1 / 10)) / 5)


def test_order_on_english_like_text():
    rng = np.random.default_rng(0)
    words = ["flow", "latent", "sequence", "of", "the", "a", "discrete", "model"]
    lines = [" ".join(rng.choice(words, 6)) for _ in range(800)]
    scores = bits_per_symbol(_corpus(lines[:600], lines[600:]), "valid")
    assert 0.3 < scores["lzma"] < scores["unigram"] < scores["uniform"]


def test_text_seen_before_costs_nearly_nothing():
    rng = np.random.default_rng(0)
    lines = ["".join(rng.choice(list("abcdefgh"), 40)) for _ in range(100)]
    scores = bits_per_symbol(_corpus(lines, lines))
    assert scores["lzma"] < 0.2
    assert scores["unigram"] > 3
