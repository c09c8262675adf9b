"""Scores of sequences of any lengths: in all, and step by step where the model gives it."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nlf_jax import arguments
from nlf_jax.data.batching import FILLER_INDEX, Batch, eval_batches
from nlf_jax.data.sequences import encoded
from nlf_jax.errors import UserError
from nlf_jax.mesh import map_rows, replicate
from nlf_jax.models import CodebookFlow, LanguageModel, SequenceModel
from nlf_jax.objectives import log_mean_weight

# In units of sigma: read denoised, a code is then taken for its neighbour in one of 4,000 draws at
# most, which is less than the last of three decimals of a score.
CODES_APART = 7.0
_SHORTEST_BUCKET = 32


class Score(NamedTuple):
    """Costs of one sequence, nats.

    Attributes:
        steps: T.
        sequences: 1; in a total of several, their number, and ``steps`` is the sum of theirs.
        nats_given_length: -log p(x | T); an estimate, on average too high, where not ``exact``.
        length_nats: -log p(T); infinite for a length that training never saw (without smoothing).
        exact: whether it is the model's own value, as for language models and, to 1e-3, for
            codebook flows that read denoised codes which are apart.
        by_step: float [T], -log p(x_t | x_<t, T); None unless ``exact``.
        reconstruction: float [T], -E log p(x_t | z); None if ``exact``.
        kl: float [T], E[log q(z_t | x) - log p(z_t | z_<t)]; None if ``exact``. The two add up to a
            bound on the whole; those of one step bound nothing.

    Examples:
        >>> import nlf_jax
        >>> model = nlf_jax.load("pretrained:king_james")
        >>> one, _ = nlf_jax.score(model, ["And the earth was without form,"] * 2)
        >>> one.exact, one.steps, one.by_step.shape
        (True, 31, (31,))
        >>> bool(abs(one.nats - one.by_step.sum() - one.length_nats) < 1e-3)
        True
    """

    steps: int
    sequences: int
    nats_given_length: float
    length_nats: float
    exact: bool
    by_step: np.ndarray | None = None
    reconstruction: np.ndarray | None = None
    kl: np.ndarray | None = None

    @property
    def nats(self) -> float:
        """-log p(x), the length included."""
        return self.nats_given_length + self.length_nats

    @property
    def nats_per_symbol(self) -> float:
        """In the paper's convention: ``nats`` divided by T + 1, for the end is a symbol too."""
        return self.nats / (self.steps + self.sequences)

    @property
    def bits_per_symbol(self) -> float:
        """The same in bits; for text they are bits per character."""
        return self.nats_per_symbol / math.log(2)

    @property
    def nats_per_step_given_length(self) -> float:
        """``nats_given_length`` divided by T: what the length costs is left out."""
        return self.nats_given_length / self.steps

    @property
    def cost_by_step(self) -> np.ndarray:
        """``by_step``, or else ``reconstruction + kl``: float [T]."""
        known = self.by_step, self.reconstruction, self.kl
        return np.sum([each for each in known if each is not None], axis=0)


def score(
    model: SequenceModel,
    sequences: Sequence[Any],
    key: PRNGKeyArray | None = None,
    *,
    num_samples: int = 10,
    batch_size: int = 32,
    unseen: str | None = None,
    mesh: Mesh | None = None,
) -> list[Score]:
    """Scores sequences of any lengths that the model takes.

    They are sorted into batches by length; each padded length compiles once. A sequence's score
    depends on its place in the list (by way of the random key) but not on the other sequences.

    Args:
        model: as ``load`` and ``fit`` make it.
        sequences: strings, ids [T] or piano rolls [T, 88], all of one kind.
        key: decides the latents that are drawn; None for that of seed 0. Exact scores ignore it.
        num_samples: importance samples of a model whose score is not exact.
        batch_size: the most sequences that are scored at once.
        unseen: the symbol that takes the place of characters that training never saw.
        mesh: devices that score a share of each batch; every process gets all scores.

    Returns:
        One score for each sequence, in their order.

    Raises:
        UserError: a sequence is empty, too long, of another kind, or has an unseen character.

    Examples:
        >>> import nlf_jax
        >>> model = nlf_jax.load("pretrained:king_james")
        >>> lines = ["And the earth was without form,", ",mrof tuohtiw saw htrae eht dnA"]
        >>> forwards, backwards = nlf_jax.score(model, lines)
        >>> forwards.bits_per_symbol < 3 < backwards.bits_per_symbol
        True
    """
    rows, longest = _rows(arguments.checked(model), sequences, unseen), model.max_length
    key = arguments.one_key(jax.random.key(0) if key is None else key)
    num_samples = arguments.count("num_samples", num_samples)
    # Few sequences make a small batch, whose size is one of few too.
    size = min(arguments.count("batch_size", batch_size), 1 << (len(rows) - 1).bit_length())
    samples = None if is_exact(model.network) else num_samples
    model = model if mesh is None else replicate(model, mesh)
    scores: dict[int, Score] = {}
    for batch in eval_batches(rows, batch_size=size, buckets=_buckets(longest)):
        scores |= _score_batch(model, batch, key, samples, mesh)
    return [scores[number] for number in range(len(rows))]


def total(scores: Sequence[Score]) -> Score:
    """The score of all sequences as one: sums, and nothing by step."""
    return Score(
        steps=sum(each.steps for each in scores),
        sequences=sum(each.sequences for each in scores),
        nats_given_length=math.fsum(each.nats_given_length for each in scores),
        length_nats=math.fsum(each.length_nats for each in scores),
        exact=all(each.exact for each in scores),
    )


def _rows(model: SequenceModel, sequences: Sequence[Any], unseen: str | None) -> list[np.ndarray]:
    """The sequences as ids int32 [T] or rolls bool [T, 88]."""
    num_symbols = model.network.embedding.shape[0] if model.network.config.is_text else None
    rows, longest = encoded(sequences, model.vocabulary, num_symbols, unseen), model.max_length
    for number, row in enumerate(rows):
        if len(row) > longest:
            raise UserError(
                f"sequence {number} has {len(row):,} steps, this model takes at most {longest:,}: "
                "cut it, or leave it out."
            )
    return rows


def is_exact(network: Any) -> bool:
    """Whether the scores of a model with this network are its own values, by step."""
    if not isinstance(network, CodebookFlow):
        return isinstance(network, LanguageModel)
    is_denoised = network.config.code_reading == "denoised"
    return is_denoised and float(_code_distance(network)) >= CODES_APART


def language_model_of(network: Any) -> LanguageModel:
    """The language model whose probabilities an exact model's are."""
    return network.language_model if isinstance(network, CodebookFlow) else network


@jax.jit
def _code_distance(network: CodebookFlow) -> Float[Array, ""]:
    return network.code_distance


def _buckets(longest: int) -> tuple[int, ...]:
    """Padded lengths: powers of two, and the longest."""
    powers = (_SHORTEST_BUCKET << n for n in range(longest.bit_length()))
    return (*(length for length in powers if length < longest), longest)


def _score_batch(
    model: SequenceModel,
    batch: Batch,
    key: PRNGKeyArray,
    num_samples: int | None,
    mesh: Mesh | None,
) -> dict[int, Score]:
    """Scores by the number of their sequence; ``num_samples`` is None if they are exact."""
    x, lengths = arguments.batch(model, batch.x, batch.lengths)
    number = np.maximum(batch.index, 0)
    costs = jax.device_get(_costs(model, x, lengths, number, key, num_samples, mesh))
    length_nats = -np.asarray(model.length_log_prob, np.float64)
    real = np.flatnonzero(batch.index != FILLER_INDEX)
    return {
        int(batch.index[row]): _row_score(
            jax.tree.map(lambda cost, row=row: cost[row], costs),
            int(batch.lengths[row]),
            float(length_nats[batch.lengths[row]]),
        )
        for row in real
    }


def _row_score(costs: Any, steps: int, length_nats: float) -> Score:
    """The score of a row, given what ``_exact_costs`` or ``_bounds`` says of it."""
    if not isinstance(costs, _Bounds):
        by_step = np.asarray(costs[:steps], np.float64)
        return Score(steps, 1, float(by_step.sum()), length_nats, True, by_step)
    terms = [np.asarray(term[:steps], np.float64) for term in (costs.reconstruction, costs.kl)]
    return Score(steps, 1, float(costs.nats), length_nats, False, None, *terms)


class _Bounds(NamedTuple):
    """Of a batch."""

    nats: Float[Array, "B"]
    reconstruction: Float[Array, "B T"]
    kl: Float[Array, "B T"]


@partial(jax.jit, static_argnums=(5, 6))
def _costs(model, x, lengths, number, key, num_samples: int | None, mesh: Mesh | None) -> Any:
    """Of the sequences with these numbers, each with a key of its own."""
    keys = jax.vmap(partial(jax.random.fold_in, key))(number)
    function = _exact_costs if num_samples is None else partial(_bounds, num_samples=num_samples)
    return map_rows(function, mesh, (x, lengths, keys), model)


def _exact_costs(
    rows: tuple[Array, Int[Array, "B"], PRNGKeyArray], model: SequenceModel
) -> Float[Array, "B T"]:
    terms = language_model_of(model.network).terms_by_step(*rows, num_samples=1)
    return -terms.reconstruction[..., 0].T


def _bounds(
    rows: tuple[Array, Int[Array, "B"], PRNGKeyArray], model: SequenceModel, *, num_samples: int
) -> _Bounds:
    x, lengths, keys = rows
    terms = model.network.terms_by_step(x, lengths, keys, num_samples=num_samples)
    nats = -log_mean_weight(jax.tree.map(lambda term: term.sum(0), terms))
    return _Bounds(nats, -terms.reconstruction.mean(-1).T, terms.kl.mean(-1).T)
