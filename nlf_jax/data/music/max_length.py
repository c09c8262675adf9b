"""Pieces of at most some length, and the length prior's room for longer ones."""

import logging

from nlf_jax.data.corpus import SPLITS, Corpus
from nlf_jax.errors import UserError

_logger = logging.getLogger(__name__)


def with_max_length(corpus: Corpus, max_length: int) -> Corpus:
    """The pieces of at most ``max_length`` frames, and room for longer ones than were seen.

    The length prior of the published code goes up to 1.25 times the longest piece of train and
    valid; a longer test piece extends it.

    Raises:
        UserError: a split has no piece left.
    """
    splits = {s: [roll for roll in corpus.splits[s] if len(roll) <= max_length] for s in SPLITS}
    if not all(splits.values()):
        raise UserError(f"a split of {corpus.name} has no piece of at most {max_length} frames.")
    left_out = sum(len(corpus.splits[s]) - len(splits[s]) for s in SPLITS)
    if left_out:
        _logger.warning("Left out %d pieces of more than %d frames.", left_out, max_length)
    seen = max(len(roll) for roll in splits["train"] + splits["valid"])
    longest = max(int(1.25 * seen), *map(len, splits["test"]))
    return Corpus.create(corpus.name, splits, vocabulary=None, max_length=longest)
