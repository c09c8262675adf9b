"""Bounds on log p(x) for a padded batch: the ELBO and the importance-weighted one."""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nlf_jax import arguments
from nlf_jax.arguments import Values
from nlf_jax.models import SequenceModel, Terms


class Elbo(NamedTuple):
    """The evidence lower bound of every sequence and its parts, nats.

    ``elbo = reconstruction - kl_weight * kl + length_log_prob``; all zero for filler rows.

    Examples:
        >>> import jax, nlf_jax
        >>> model = nlf_jax.load("pretrained:king_james")
        >>> line = model.vocabulary.encode("And the earth was without form,")  # ids [31]
        >>> bound = nlf_jax.elbo(model, line[None], [31], jax.random.key(1), num_samples=2)
        >>> parts = bound.reconstruction - bound.kl + bound.length_log_prob
        >>> bool(abs(bound.elbo - parts).max() < 1e-3)
        True
    """

    elbo: Float[Array, "B"]
    reconstruction: Float[Array, "B"]
    kl: Float[Array, "B"]
    length_log_prob: Float[Array, "B"]


def elbo(
    model: SequenceModel,
    x: Values,
    lengths: Values,
    key: PRNGKeyArray,
    *,
    num_samples: int = 1,
    kl_weight: float | Array = 1.0,
    train: bool = False,
) -> Elbo:
    """Evidence lower bound: E_q[log p(x|z) - w (log q(z|x) - log p(z))] + log p(T).

    The expectation is a mean over ``num_samples`` draws from q. A language model's bound is exact.

    Compiled once for each shape, and usable inside ``jax.jit`` and other transformations, where
    values cannot be checked.

    Args:
        x: ids [B, T], or bits [B, T, V], as lists or arrays; anything past a row's length is
            ignored.
        lengths: real steps of every row, [B]; a row of length 0 is filler and scores 0.
        key: of the batch, or one for each row, [B].
        num_samples: S; static.
        kl_weight: w.
        train: dropout is on; static.

    Raises:
        UserError: an argument has the wrong shape or type, T is more than the model allows, or a
            value that is known is none: an id outside of the vocabulary, a length that x has not.

    Examples:
        >>> import jax, nlf_jax
        >>> model = nlf_jax.load("pretrained:king_james")
        >>> line = model.vocabulary.encode("And the earth was without form,")  # ids [31]
        >>> bound = nlf_jax.elbo(model, line[None], [31], jax.random.key(1), num_samples=2)
        >>> bound.elbo.shape  # one row, nats
        (1,)
    """
    x, lengths, keys, num_samples = _arguments(model, x, lengths, key, num_samples)
    if x.size == 0:
        return Elbo(*jnp.zeros((4, len(x)), jnp.float32))
    kl_weight, train = arguments.weight("kl_weight", kl_weight), arguments.flag("train", train)
    return _elbo(model, x, lengths, keys, kl_weight, num_samples=num_samples, train=train)


def importance_weighted_nll(
    model: SequenceModel,
    x: Values,
    lengths: Values,
    key: PRNGKeyArray,
    *,
    num_samples: int = 10,
) -> Float[Array, "B"]:
    """-log p(x) by importance sampling from q (Burda et al., 2016), nats; 0 for filler rows.

    ``-(logsumexp_s(log p(x, z_s) - log q(z_s | x)) - log S + log p(T))``; arguments: see ``elbo``.

    Examples:
        >>> import jax, nlf_jax
        >>> model = nlf_jax.load("pretrained:king_james")
        >>> line = model.vocabulary.encode("And the earth was without form,")  # ids [31]
        >>> key = jax.random.key(1)
        >>> nll = nlf_jax.importance_weighted_nll(model, line[None], [31], key, num_samples=2)
        >>> bound = nlf_jax.elbo(model, line[None], [31], key, num_samples=2)
        >>> bool(nll[0] <= -bound.elbo[0] + 1e-3)
        True
    """
    x, lengths, keys, num_samples = _arguments(model, x, lengths, key, num_samples)
    if x.size == 0:
        return jnp.zeros(len(x), jnp.float32)
    return _nll(model, x, lengths, keys, num_samples=num_samples)


def training_loss(
    model: SequenceModel,
    x: Array,
    lengths: Int[Array, "B"],
    key: PRNGKeyArray,
    *,
    num_samples: int,
    kl_weight: float | Array,
    num_rows: Int[Array, ""] | None = None,
) -> tuple[Float[Array, ""], Elbo]:
    """Mean over the real rows of -ELBO / (T + 1), dropout on, and the ELBO's parts.

    ``num_rows``: divides by it, not by the rows' own number; for a part of a batch.
    """
    bound = elbo(model, x, lengths, key, num_samples=num_samples, kl_weight=kl_weight, train=True)
    num_rows = (lengths > 0).sum() if num_rows is None else num_rows
    per_symbol = -bound.elbo / (lengths + 1).astype(jnp.float32)
    return per_symbol.sum() / jnp.maximum(num_rows, 1).astype(jnp.float32), bound


def log_mean_weight(terms: Terms) -> Float[Array, "B"]:
    """The importance-weighted log p(x | T): ``logsumexp_s(log w_s) - log S``, nats."""
    log_weights = terms.reconstruction - terms.kl
    return jax.nn.logsumexp(log_weights, axis=-1) - math.log(log_weights.shape[-1])


def _arguments(
    model: SequenceModel, x: Values, lengths: Values, key: PRNGKeyArray, num_samples: int
) -> tuple[Array, Int[Array, "B"], PRNGKeyArray, int]:
    x, lengths = arguments.batch(model, x, lengths)
    return x, lengths, arguments.keys(key, len(x)), arguments.count("num_samples", num_samples)


# Inlined, so that inside of a larger program they are compiled as a part of it.
@partial(jax.jit, static_argnames=("num_samples", "train"), inline=True)
def _elbo(model, x, lengths, keys, kl_weight, *, num_samples: int, train: bool) -> Elbo:
    terms, length_log_prob = _terms(model, x, lengths, keys, num_samples, train)
    reconstruction, kl = terms.reconstruction.mean(-1), terms.kl.mean(-1)
    bound = reconstruction - kl_weight * kl + length_log_prob
    return Elbo(bound, reconstruction, kl, length_log_prob)


@partial(jax.jit, static_argnames="num_samples", inline=True)
def _nll(model, x, lengths, keys, *, num_samples: int) -> Float[Array, "B"]:
    terms, length_log_prob = _terms(model, x, lengths, keys, num_samples, train=False)
    return -(log_mean_weight(terms) + length_log_prob)


def _terms(
    model: SequenceModel,
    x: Array,
    lengths: Int[Array, "B"],
    keys: PRNGKeyArray,
    num_samples: int,
    train: bool,
) -> tuple[Terms, Float[Array, "B"]]:
    keys = keys if keys.ndim else jax.random.split(keys, x.shape[0])
    terms = model.network.terms(x, lengths, keys, num_samples=num_samples, train=train)
    length_log_prob = jnp.where(lengths > 0, model.length_log_prob[lengths], 0.0)
    return terms, length_log_prob
