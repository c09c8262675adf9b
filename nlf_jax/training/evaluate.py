"""Scores of a split, in the convention of the paper: nats over the split / sum(T + 1)."""

import hashlib
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import PRNGKeyArray

from nlf_jax import objectives
from nlf_jax.data import batching
from nlf_jax.mesh import (
    ROWS,
    WHOLE,
    make_mesh,
    over_rows,
    replicate,
    replicated,
    shard_rows,
)
from nlf_jax.models import SequenceModel

CONVENTION = "sum of nats over the split / sum of (T + 1), log p(T) included; bits = nats / ln 2"


class Interrupted(Exception):
    """Scoring was asked to stop."""


class Scores(NamedTuple):
    """Per sequence, NumPy [N], nats summed over the sequence.

    Attributes:
        lengths: T.
        elbo: the bound at KL weight 1, log p(T) included.
        reconstruction: E_q log p(x|z).
        kl: unweighted.
        length_log_prob: log p(T); -inf for a length that the prior takes for impossible.
        nll_no_length: the importance-weighted -log p(x | T); None where it was not asked for.
    """

    lengths: np.ndarray
    elbo: np.ndarray
    reconstruction: np.ndarray
    kl: np.ndarray
    length_log_prob: np.ndarray
    nll_no_length: np.ndarray | None

    @property
    def impossible(self) -> int:
        """How many sequences have a length of probability 0, such as training never saw."""
        return int(np.isneginf(self.length_log_prob).sum())

    def summary(self) -> dict[str, float]:
        """Per symbol: ``<name>_nats`` and ``_bits``, with the standard error over sequences.

        All are costs: the ELBO, the reconstruction and the length term change sign. All are
        divided by T + 1, but for ``nll_no_length``: -log p(x | T) divided by T. Where sequences are
        ``impossible``, their number is there too: ELBO, length term and NLL are infinite then, and
        have no standard error.
        """
        per_symbol, per_step = self.lengths + 1, self.lengths
        costs = {
            "elbo": (-self.elbo, per_symbol),
            "reconstruction": (-self.reconstruction, per_symbol),
            "kl": (self.kl, per_symbol),
            "length": (-self.length_log_prob, per_symbol),
        }
        if self.nll_no_length is not None:
            costs["nll"] = (self.nll_no_length - self.length_log_prob, per_symbol)
            costs["nll_no_length"] = (self.nll_no_length, per_step)
        values: dict[str, float] = {"impossible": self.impossible} if self.impossible else {}
        for name, (nats, symbols) in costs.items():
            mean, error = ratio_with_error(nats, symbols)
            values |= {f"{name}_nats": mean, f"{name}_bits": mean / math.log(2)}
            values |= {f"{name}_bits_standard_error": error / math.log(2)}
        return values


def score(
    model: SequenceModel,
    sequences: Sequence[np.ndarray],
    key: PRNGKeyArray,
    *,
    batch_size: int,
    buckets: tuple[int, ...],
    elbo_samples: int = 1,
    nll_samples: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
    mesh: Mesh | None = None,
) -> Scores:
    """Scores sequences in one pass.

    Args:
        model: the model.
        sequences: int32 [T] each, or bool [T, 88] each.
        key: batch n uses fold_in(key, n).
        batch_size: rows in a batch.
        buckets: padded lengths; one compilation for each.
        elbo_samples: latent samples of the ELBO.
        nll_samples: importance samples; 0 leaves the NLL out.
        should_stop: asked before every batch; several processes must get the same answer.
        mesh: devices that share each batch; None for all.

    Returns:
        The scores in the order of the buckets.

    Raises:
        Interrupted: ``should_stop`` said so.
    """
    collected, mesh = [], mesh or make_mesh()
    model = replicate(model, mesh)
    batches = batching.eval_batches(sequences, batch_size=batch_size, buckets=buckets)
    for number, batch in enumerate(batches):
        if should_stop():
            raise Interrupted
        batch_key = jax.random.fold_in(key, number)
        x, lengths = shard_rows(batch.x, batch.lengths, mesh)
        scores = _score_batch(model, x, lengths, batch_key, elbo_samples, nll_samples, mesh)
        collected.append(jax.device_get(scores))
    return _join(collected)


def ratio_with_error(values: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """sum(values) / sum(weights) and its standard error over independent pairs.

    Args:
        values: float [N].
        weights: positive [N].

    Returns:
        The ratio, and its error by linearisation; NaN for a single pair.
    """
    values, weights = values.astype(np.float64), weights.astype(np.float64)
    ratio = values.sum() / weights.sum()
    if len(values) < 2 or not np.isfinite(ratio):
        return float(ratio), math.nan
    residuals = values - ratio * weights
    variance = len(values) / (len(values) - 1) * np.sum(residuals**2)
    return float(ratio), float(np.sqrt(variance) / weights.sum())


def subset(sequences: Sequence[Any], max_sequences: int | None, seed: int) -> list[Any]:
    """At most ``max_sequences`` of the sequences: a random choice that the seed decides."""
    if max_sequences is None or max_sequences >= len(sequences):
        return list(sequences)
    chosen = np.random.default_rng(seed).choice(len(sequences), max_sequences, replace=False)
    return [sequences[i] for i in sorted(chosen.tolist())]


def num_parameters(model: SequenceModel) -> int:
    """Trained numbers in the network; a weight used twice counts once."""
    return sum(leaf.size for leaf in jax.tree.leaves(model.network))


def weights_digest(model: SequenceModel) -> str:
    """SHA-256 of the network's numbers, in hexadecimal: it tells which model a score is of."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(model.network):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()


@partial(jax.jit, static_argnums=(4, 5, 6))
def _score_batch(model, x, lengths, key, elbo_samples: int, nll_samples: int, mesh: Mesh):
    """The lengths, the ELBO and the NLL given the length or None, on every device."""

    def score_rows(x, lengths, elbo_keys, nll_keys, model):
        bound = objectives.elbo(model, x, lengths, elbo_keys, num_samples=elbo_samples)
        if nll_samples == 0:
            return lengths, bound, None
        given_length = model.replace(length_log_prob=jnp.zeros_like(model.length_log_prob))
        return (
            lengths,
            bound,
            objectives.importance_weighted_nll(
                given_length, x, lengths, nll_keys, num_samples=nll_samples
            ),
        )

    keys = [jax.random.split(each, len(lengths)) for each in jax.random.split(key)]
    by_rows = over_rows(score_rows, mesh, (ROWS, ROWS, ROWS, ROWS, WHOLE), ROWS)
    scores = by_rows(x, lengths, *keys, model)
    return jax.lax.with_sharding_constraint(scores, replicated(mesh))


def _join(collected: list[tuple[np.ndarray, Any, np.ndarray | None]]) -> Scores:
    """Concatenates batches without their filler rows."""
    real = [lengths > 0 for lengths, _, _ in collected]
    join = lambda parts: np.concatenate(  # noqa: E731
        [part[mask] for part, mask in zip(parts, real, strict=True)]
    )
    elbo = {
        name: join([getattr(elbo, name) for _, elbo, _ in collected])
        for name in ("elbo", "reconstruction", "kl", "length_log_prob")
    }
    nll = None if collected[0][2] is None else join([nll for _, _, nll in collected])
    lengths = join([lengths for lengths, _, _ in collected])
    return Scores(lengths=lengths, nll_no_length=nll, **elbo)
