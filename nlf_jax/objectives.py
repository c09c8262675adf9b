"""Bounds on log p(x) for a padded batch: the ELBO and the importance-weighted one."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nlf_jax.errors import UserError
from nlf_jax.models import SequenceModel, Terms


class Elbo(NamedTuple):
    """The evidence lower bound of every sequence and its parts, nats.

    ``elbo = reconstruction - kl_weight * kl + length_log_prob``; all zero for filler rows.
    """

    elbo: Float[Array, "B"]
    reconstruction: Float[Array, "B"]
    kl: Float[Array, "B"]
    length_log_prob: Float[Array, "B"]


def elbo(
    model: SequenceModel,
    x: Array,
    lengths: Int[Array, "B"],
    key: PRNGKeyArray,
    *,
    num_samples: int = 1,
    kl_weight: float | Array = 1.0,
    train: bool = False,
) -> Elbo:
    """Evidence lower bound: E_q[log p(x|z) - w (log q(z|x) - log p(z))] + log p(T).

    The expectation is a mean over ``num_samples`` draws from q. A language model's bound is exact.

    Args:
        x: ids int32 [B, T], or bits [B, T, V]; anything past a row's length is ignored.
        lengths: real steps of every row; a row of length 0 is filler and scores 0.
        key: of the batch, or one for each row, [B].
        kl_weight: w.
        train: dropout is on.

    Raises:
        UserError: x or lengths have the wrong shape or type, or T is more than the model allows.
    """
    terms, length_log_prob = _terms(model, x, lengths, key, num_samples, train)
    reconstruction, kl = terms.reconstruction.mean(-1), terms.kl.mean(-1)
    bound = reconstruction - kl_weight * kl + length_log_prob
    return Elbo(bound, reconstruction, kl, length_log_prob)


def importance_weighted_nll(
    model: SequenceModel,
    x: Array,
    lengths: Int[Array, "B"],
    key: PRNGKeyArray,
    *,
    num_samples: int = 10,
) -> Float[Array, "B"]:
    """-log p(x) by importance sampling from q (Burda et al., 2016), nats; 0 for filler rows.

    ``-(logsumexp_s(log p(x, z_s) - log q(z_s | x)) - log S + log p(T))``; arguments: see ``elbo``.
    """
    terms, length_log_prob = _terms(model, x, lengths, key, num_samples, train=False)
    log_weights = terms.reconstruction - terms.kl
    log_mean = jax.nn.logsumexp(log_weights, axis=-1) - np.log(log_weights.shape[-1])
    return -(log_mean + length_log_prob)


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
    return (-bound.elbo / (lengths + 1)).sum() / jnp.maximum(num_rows, 1), bound


def _terms(
    model: SequenceModel, x: Array, lengths: Array, key: PRNGKeyArray, num_samples: int, train: bool
) -> tuple[Terms, Float[Array, "B"]]:
    check_batch(model, x, lengths)
    if num_samples < 1:
        raise UserError(f"num_samples is {num_samples}: at least one sample is needed")
    keys = key if key.ndim else jax.random.split(key, x.shape[0])
    terms = model.network.terms(x, lengths, keys, num_samples=num_samples, train=train)
    length_log_prob = jnp.where(lengths > 0, model.length_log_prob[lengths], 0.0)
    return terms, length_log_prob


def check_batch(model: SequenceModel, x: Array, lengths: Array) -> None:
    """Refuse a batch whose shapes or types cannot be meant.

    Raises:
        UserError: naming what was expected and what was found.
    """
    config, max_length = model.network.config, model.length_log_prob.shape[0] - 1
    text = config.is_text
    if x.ndim != (2 if text else 3):
        wanted = "ids [B, T]" if text else "bits [B, T, V]"
        raise UserError(f"x has shape {x.shape}: this model takes {wanted}")
    if text and not jnp.issubdtype(x.dtype, jnp.integer):
        raise UserError(f"x has dtype {x.dtype}: ids must be integers")
    num_symbols = model.network.embedding.shape[0]
    if not text and x.shape[-1] != num_symbols:
        raise UserError(f"x has {x.shape[-1]} bits a step, the model has {num_symbols} outputs")
    if lengths.shape != x.shape[:1] or not jnp.issubdtype(lengths.dtype, jnp.integer):
        found = f"{lengths.dtype} {lengths.shape}"
        raise UserError(f"lengths are {found}: one integer for each of {x.shape[0]} rows")
    if x.shape[1] > max_length:
        raise UserError(f"x has {x.shape[1]} steps, the model was made for at most {max_length}")
