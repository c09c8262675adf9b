"""What a latent is good for: to rebuild a sequence, blend two of them, go on with an opening."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nlf_jax.bijectors.recurrent import SequenceContext
from nlf_jax.errors import UserError
from nlf_jax.models import LATENT_MODELS, LanguageModel, LatentVariableModel, SequenceModel
from nlf_jax.models.base import split_each
from nlf_jax.nn.position import step_mask
from nlf_jax.objectives import check_batch
from nlf_jax.sampling import Samples, check_arguments, padded

# A length never seen is next to impossible, but better than none.
_LOWEST_LENGTH_LOG_PROB = -1e4


def reconstruct(
    model: SequenceModel,
    x: Array,
    lengths: Int[Array, "B"],
    key: PRNGKeyArray,
    *,
    greedy: bool = True,
) -> Samples:
    """Encode with q(z | x), decode with p(x | z).

    Args:
        x: ids int32 [B, T], or bits [B, T, V]; anything past a row's length is ignored.
        lengths: steps of every row.
        greedy: z is the posterior's mean and every symbol the most probable one, whatever the key;
            else z and the symbols are drawn.

    Raises:
        UserError: the model has no latent, or as for ``elbo``.
    """
    _require_latent(model)
    check_batch(model, x, lengths)
    return _reconstruct(model, x, lengths, key, greedy)


def interpolate(
    model: SequenceModel,
    a: Array,
    b: Array,
    key: PRNGKeyArray,
    *,
    num_points: int = 5,
    greedy: bool = True,
) -> Samples:
    """Sequences from ``a`` to ``b`` at even steps; the first and last reconstruct the two.

    The latents of a and b are taken back through the prior to noise, where a step of N(0, I) means
    the same whatever the length. At fraction w of the way the length is ``(1 - w) len(a) + w
    len(b)``, rounded, and step t has the noise ``((1 - w) a_t + w b_t) / sqrt((1 - w)^2 + w^2)``.
    Where one sequence has no step t, the other's noise is taken as it is. Then, for noise of two
    independent draws of the prior, that of every point is one again: no point is less typical.

    Args:
        a: symbols of one sequence, ids int32 [T_a] or bits [T_a, V].
        b: the other, of any length.
        num_points: with both ends.
        greedy: as for ``reconstruct``.

    Raises:
        UserError: the model has no latent, num_points is less than 2, or as for ``elbo``.
    """
    _require_latent(model)
    if num_points < 2:
        raise UserError(f"num_points is {num_points}: at least the two ends are needed")
    a, b = _one_sequence(model, a), _one_sequence(model, b)
    longer = max(len(a), len(b))
    ends = [jnp.pad(x, [(0, longer - len(x))] + [(0, 0)] * (x.ndim - 1)) for x in (a, b)]
    lengths = jnp.array([len(a), len(b)], jnp.int32)
    return _interpolate(model, jnp.stack(ends), lengths, key, num_points, greedy)


def continue_from(
    model: SequenceModel,
    opening: Array,
    key: PRNGKeyArray,
    *,
    num_samples: int = 1,
    length: int | None = None,
    temperature: float | Array = 1.0,
    greedy: bool = False,
    num_proposals: int = 32,
) -> Samples:
    """Draw sequences that begin with the k steps of the opening: p(x | x_{1..k}).

    A language model reads the opening and writes on, which is exact. For a latent flow the
    conditional is intractable, because every x_t depends on all of z; it is approximated by
    sampling-importance-resampling (Rubin, 1988). Of S proposals one is kept, with probability in
    proportion to
    ``p(x_{1..k} | z) p(z_{1..k}) / q(z_{1..k} | x_{1..k})``: z_{1..k} is drawn from the posterior
    that has read the opening, the later latents from the prior given these (fresh noise), and the
    later symbols from p(x_t | z). With S to infinity the samples are exact. With few proposals for
    a long opening they lean towards the proposal: the later part then follows the opening's
    latents, but they were not chosen for what they let follow. The samples are independent.

    Args:
        opening: ids int32 [k] or bits [k, V].
        length: steps of every sample, more than k; None draws from p(T | x_{1..k}, T > k) in the
            same way (for a language model too).
        temperature: as for ``sample``, on what is added; the weights are the model's own.
        greedy: add the most probable symbols given z (for a language model: given the past).
        num_proposals: S; costs that many samples each. Without effect on a language model at a
            length.

    Raises:
        UserError: the opening is empty or as long as a sequence can be, or as for ``sample``.
    """
    check_arguments(model, num_samples, length, temperature)
    if num_proposals < 1:
        raise UserError(f"num_proposals is {num_proposals}: ask for at least one")
    opening = _one_sequence(model, opening)
    longest = model.length_log_prob.shape[0] - 1 if length is None else length
    if len(opening) >= longest:
        raise UserError(
            f"the opening has {len(opening)} steps, the longest sequence {longest}: nothing is left"
        )
    if isinstance(model.network, LanguageModel) and length is not None:
        num_proposals = 1
    counts = (num_samples, num_proposals)
    return _continue(model, opening, key, counts, length, jnp.float32(temperature), greedy)


@partial(jax.jit, static_argnums=4)
def _reconstruct(model, x, lengths, key, greedy) -> Samples:
    network = model.network
    latent_keys, symbol_keys = split_each(jax.random.split(key, len(lengths)))
    z = _latent(network, jnp.swapaxes(x, 0, 1), lengths, latent_keys, greedy)
    symbols = network.draw(network.scores(z, lengths), symbol_keys, jnp.ones(()), greedy)
    return padded(symbols, lengths)


@partial(jax.jit, static_argnums=(4, 5))
def _interpolate(model, ends, end_lengths, key, num_points, greedy) -> Samples:
    network = model.network
    latent_key, symbol_key = jax.random.split(key)
    latent_keys = jax.random.split(latent_key)
    z = _latent(network, jnp.swapaxes(ends, 0, 1), end_lengths, latent_keys, greedy)
    noise, _ = network.prior.inverse_and_log_det(z, SequenceContext(end_lengths))
    way = jnp.linspace(0.0, 1.0, num_points)
    shares = jnp.stack([1.0 - way, way], axis=1)
    lengths = jnp.round(shares @ end_lengths).astype(jnp.int32)
    blend = jax.vmap(_blend, (None, None, 0), out_axes=1)
    noise = blend(jnp.swapaxes(noise, 0, 1), end_lengths, shares)
    z, _ = network.prior.forward_and_log_det(noise, SequenceContext(lengths))
    symbol_keys = jax.random.split(symbol_key, num_points)
    symbols = network.draw(network.scores(z, lengths), symbol_keys, jnp.ones(()), greedy)
    return padded(symbols, lengths)


@partial(jax.jit, static_argnums=(3, 4, 6))
def _continue(model, opening, key, counts, length, temperature, greedy) -> Samples:
    num_samples, num_proposals = counts
    num_steps = model.length_log_prob.shape[0] - 1 if length is None else length
    choice_keys, keys = split_each(jax.random.split(key, num_samples))
    keys = jax.vmap(partial(jax.random.split, num=num_proposals))(keys).reshape(-1)
    length_keys, keys = split_each(keys)
    draw_length = partial(_draw_length, model, len(opening), length)
    lengths = jax.vmap(draw_length)(length_keys)
    symbols, log_weights = model.network.continuation(
        opening, lengths, num_steps, keys, temperature, greedy
    )
    log_weights = log_weights.reshape(num_samples, num_proposals)
    chosen = jax.vmap(jax.random.categorical)(choice_keys, log_weights)
    chosen += num_proposals * jnp.arange(num_samples)
    return padded(symbols[chosen], lengths[chosen])


def _draw_length(model: SequenceModel, known: int, length: int | None, key) -> Int[Array, ""]:
    """The given length, or a draw from p(T | T > known)."""
    if length is not None:
        return jnp.int32(length)
    log_prob = jnp.maximum(model.length_log_prob, _LOWEST_LENGTH_LOG_PROB)
    log_prob = jnp.where(jnp.arange(log_prob.size) > known, log_prob, -jnp.inf)
    return jax.random.categorical(key, log_prob).astype(jnp.int32)


def _latent(network: LatentVariableModel, x, lengths, keys, greedy: bool) -> Float[Array, "T N D"]:
    """The posterior's mean given symbols [T, N, ..], or a draw from it."""
    posterior = network.encode(x, lengths)
    if greedy:
        return posterior.mean
    shape = (posterior.mean.shape[0], posterior.mean.shape[-1])
    draw = partial(jax.random.normal, shape=shape)
    return posterior.sample(jax.vmap(draw, out_axes=1)(keys))


def _blend(
    noise: Float[Array, "2 T D"], lengths: Int[Array, "2"], shares: Float[Array, "2"]
) -> Float[Array, "T D"]:
    """Weighted sum of unit variance; a step that only one end has is that end's."""
    present = step_mask(lengths, noise.shape[1]).T
    weights = jnp.where(present, shares[:, None], 0.0)
    scale = jnp.sqrt((weights**2).sum(0))
    weights = weights / jnp.where(scale > 0.0, scale, 1.0)
    return (weights[..., None] * noise).sum(0)


def _one_sequence(model: SequenceModel, x: Array) -> Array:
    """The symbols of one sequence as an array, checked.

    Raises:
        UserError: it is empty, or as for ``elbo``.
    """
    x = jnp.asarray(x)
    if x.ndim == 0 or len(x) == 0:
        raise UserError("the sequence is empty: give at least one step")
    check_batch(model, x[None], jnp.array([len(x)], jnp.int32))
    return x


def _require_latent(model: SequenceModel) -> None:
    if not isinstance(model.network, LatentVariableModel):
        raise UserError(
            f"the {model.network.config.model} has no latent to reconstruct from or interpolate: "
            f"use a model of {', '.join(LATENT_MODELS)}"
        )
