"""Batches of static shape, by length bucket, from Grain.

The pipeline is a composition of Grain's random-access datasets, so that batch number n is a pure
function of (sequences, batch size, buckets, seed, n): resuming is setting n.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import grain.python as grain
import numpy as np

from nlf_jax.data.music.piano_roll import NUM_DUMMIES
from nlf_jax.data.music.transposition import transpose_rows
from nlf_jax.data.text.vocabulary import PADDING_ID
from nlf_jax.errors import UserError

FILLER_INDEX = -1


class Batch(NamedTuple):
    """One right-padded batch.

    Attributes:
        x: int32 [B, T] symbol ids padded with 1; for piano rolls bool [B, T, 89], whose first
            column is the dummy output, padded with False.
        lengths: int32 [B], 0 in the filler rows of a partial batch.
        index: int32 [B], row number in the split, -1 for filler rows.
    """

    x: np.ndarray
    lengths: np.ndarray
    index: np.ndarray


def train_batches(
    sequences: Sequence[np.ndarray],
    *,
    batch_size: int,
    buckets: tuple[int, ...],
    seed: int,
    transpose: int = 0,
) -> grain.DatasetIterator:
    """Endless shuffled batches: every sequence once per epoch, in another order each epoch.

    Rows are shuffled inside their bucket before batching, and the batches of all buckets are
    shuffled together. The last batch of a bucket is filled up with filler rows.

    Args:
        sequences: int32 [T] each, or bool [T, 88] each.
        batch_size: rows per batch.
        buckets: increasing padded lengths; a sequence goes to the shortest that holds it.
        seed: decides all orders and transpositions.
        transpose: a piano roll is moved by up to so many semitones, anew each time.

    Returns:
        A Grain iterator of ``Batch`` with shape [batch_size, bucket]; ``get_state`` and
        ``set_state`` resume it at any step.

    Raises:
        UserError: a sequence is empty or longer than the last bucket, or the arguments are invalid.
    """
    if seed < 0:
        raise UserError(f"seed must not be negative, got {seed}.")
    if transpose and sequences and sequences[0].ndim == 1:
        raise UserError(f"transpose is {transpose}, but only piano rolls can be transposed.")
    members = _bucket_members(sequences, batch_size, buckets)
    seeds = np.random.SeedSequence(seed).generate_state(len(members) + 1).tolist()
    parts = [
        grain.MapDataset.source(rows)
        .shuffle(seed=bucket_seed)
        .batch(batch_size, batch_fn=_padder(sequences, batch_size, bucket))
        for bucket_seed, (bucket, rows) in zip(seeds, members.items(), strict=False)
    ]
    epochs = grain.MapDataset.concatenate(parts).shuffle(seed=seeds[-1]).repeat()
    if transpose:
        epochs = epochs.random_map(_transposer(transpose), seed=seeds[-1])
    # A batch costs microseconds: threads would only be in the way of signals and forks.
    return iter(epochs.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)))


def eval_batches(
    sequences: Sequence[np.ndarray], *, batch_size: int, buckets: tuple[int, ...]
) -> list[Batch]:
    """Every sequence exactly once, in order inside each bucket; see ``train_batches``."""
    members = _bucket_members(sequences, batch_size, buckets)
    return [
        _padder(sequences, batch_size, bucket)(rows[start : start + batch_size])
        for bucket, rows in members.items()
        for start in range(0, len(rows), batch_size)
    ]


def steps_per_epoch(
    sequences: Sequence[np.ndarray], *, batch_size: int, buckets: tuple[int, ...]
) -> int:
    """Number of batches in an epoch of ``train_batches``, or in ``eval_batches``."""
    members = _bucket_members(sequences, batch_size, buckets)
    return sum(-(-len(rows) // batch_size) for rows in members.values())


def _bucket_members(
    sequences: Sequence[np.ndarray], batch_size: int, buckets: tuple[int, ...]
) -> dict[int, list[int]]:
    """Row numbers of each bucket that has any."""
    lengths = np.array([len(sequence) for sequence in sequences])
    _check(lengths, batch_size, buckets)
    assigned = np.searchsorted(buckets, lengths)
    members = {b: np.flatnonzero(assigned == i).tolist() for i, b in enumerate(buckets)}
    return {bucket: rows for bucket, rows in members.items() if rows}


def _check(lengths: np.ndarray, batch_size: int, buckets: tuple[int, ...]) -> None:
    if batch_size < 1:
        raise UserError(f"batch_size must be at least 1, got {batch_size}.")
    if not buckets or buckets[0] < 1 or list(buckets) != sorted(set(buckets)):
        raise UserError(f"buckets must be increasing positive lengths, got {tuple(buckets)}.")
    if lengths.size == 0:
        raise UserError("There are no sequences to batch.")
    if lengths.min() < 1:
        raise UserError(f"Sequence {np.argmin(lengths)} is empty; remove it.")
    if lengths.max() > buckets[-1]:
        raise UserError(
            f"Sequence {np.argmax(lengths)} has length {lengths.max()}, over the largest bucket "
            f"{buckets[-1]}; add a larger bucket or drop the sequence."
        )


def _padder(
    sequences: Sequence[np.ndarray], batch_size: int, bucket: int
) -> Callable[[Sequence[int]], Batch]:
    """The function from at most ``batch_size`` row numbers to their batch."""

    def pad(rows: Sequence[int]) -> Batch:
        x, values = _blank(sequences[rows[0]], batch_size, bucket)
        lengths = np.zeros(batch_size, np.int32)
        index = np.full(batch_size, FILLER_INDEX, np.int32)
        for i, row in enumerate(rows):
            sequence = sequences[row]
            lengths[i], index[i] = len(sequence), row
            values[i, : len(sequence)] = sequence
        return Batch(x, lengths, index)

    return pad


def _transposer(max_semitones: int) -> Callable[[Batch, np.random.Generator], Batch]:
    """The random map of batches; Grain seeds its generator by the number of the batch."""

    def shift(batch: Batch, rng: np.random.Generator) -> Batch:
        return batch._replace(x=transpose_rows(batch.x, max_semitones, rng))

    return shift


def _blank(example: np.ndarray, batch_size: int, bucket: int) -> tuple[np.ndarray, np.ndarray]:
    """An array of padding, and the view of it that takes the sequences."""
    if example.ndim == 1:
        x = np.full((batch_size, bucket), PADDING_ID, np.int32)
        return x, x
    x = np.zeros((batch_size, bucket, NUM_DUMMIES + example.shape[1]), np.bool_)
    return x, x[..., NUM_DUMMIES:]
