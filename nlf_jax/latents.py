"""What a latent is good for: to rebuild a sequence, blend two of them, go on with an opening."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nlf_jax import arguments
from nlf_jax.arguments import Values
from nlf_jax.bijectors.recurrent import SequenceContext
from nlf_jax.errors import UserError
from nlf_jax.mesh import map_rows, replicate
from nlf_jax.models import LATENT_MODELS, LanguageModel, LatentVariableModel, SequenceModel
from nlf_jax.models.base import split_each
from nlf_jax.nn.position import step_mask
from nlf_jax.sampling import Samples, padded

# A length never seen is next to impossible, but better than none.
_LOWEST_LENGTH_LOG_PROB = -1e4


def reconstruct(
    model: SequenceModel,
    x: Values,
    lengths: Values,
    key: PRNGKeyArray,
    *,
    greedy: bool = True,
    mesh: Mesh | None = None,
) -> Samples:
    """Encode with q(z | x), decode with p(x | z).

    Args:
        model: one with a latent.
        x: ids [B, T], or bits [B, T, V]; anything past a row's length is ignored.
        lengths: steps of every row, [B].
        key: of the batch, or one for each row, [B].
        greedy: z is the posterior's mean and every symbol the most probable one, whatever the key;
            else z and the symbols are drawn.
        mesh: devices that do a share of the rows each, as for ``sample``.

    Raises:
        UserError: the model has no latent, or as for ``elbo``.

    Examples:
        >>> import jax, nlf_jax
        >>> model = nlf_jax.load("pretrained:king_james")
        >>> line = model.vocabulary.encode("And the earth was without form,")  # ids [31]
        >>> rebuilt = nlf_jax.reconstruct(model, line[None], [31], jax.random.key(0))
        >>> model.vocabulary.decode(*rebuilt)
        ['And the earth was without form,']
    """
    _require_latent(model)
    x, lengths = arguments.batch(model, x, lengths)
    keys = arguments.keys(key, len(x))
    if x.size == 0:
        return Samples(x, lengths)
    model = model if mesh is None else replicate(model, mesh)
    return _reconstruct(model, x, lengths, keys, arguments.flag("greedy", greedy), mesh)


def interpolate(
    model: SequenceModel,
    a: Values,
    b: Values,
    key: PRNGKeyArray,
    *,
    num_points: int = 5,
    greedy: bool = True,
    mesh: Mesh | None = None,
) -> Samples:
    """Sequences from ``a`` to ``b`` at even steps; the first and last reconstruct the two.

    The latents of a and b are taken back through the prior to noise, where a step of N(0, I) means
    the same whatever the length. At fraction w of the way the length is ``(1 - w) len(a) + w
    len(b)``, rounded, and step t has the noise ``((1 - w) a_t + w b_t) / sqrt((1 - w)^2 + w^2)``.
    Where one sequence has no step t, the other's noise is taken as it is. Then, for noise of two
    independent draws of the prior, that of every point is one again: no point is less typical.

    Args:
        model: one with a latent.
        a: symbols of one sequence, ids [T_a] or bits [T_a, V].
        b: the other, of any length.
        key: one.
        num_points: with both ends.
        greedy: as for ``reconstruct``.
        mesh: devices that make a share of the points each, as for ``sample``.

    Raises:
        UserError: the model has no latent, num_points is less than 2, or as for ``elbo``.

    Examples:
        >>> import jax, nlf_jax
        >>> model = nlf_jax.load("pretrained:king_james")
        >>> line = model.vocabulary.encode("And the earth was without form,")  # ids [31]
        >>> way = nlf_jax.interpolate(model, line, line[:20], jax.random.key(0), num_points=3)
        >>> [len(text) for text in model.vocabulary.decode(*way)]
        [31, 26, 20]
    """
    _require_latent(model)
    num_points, key = arguments.count("num_points", num_points, 2), arguments.one_key(key)
    a, b = arguments.sequence(model, a), arguments.sequence(model, b)
    ends, lengths = right_padded([a, b])
    model = model if mesh is None else replicate(model, mesh)
    greedy = arguments.flag("greedy", greedy)
    return _interpolate(model, ends, lengths, key, num_points, greedy, mesh)


def right_padded(sequences: Sequence[Array]) -> tuple[Array, Int[Array, "N"]]:
    """Sequences [T] or [T, V] as one array [N, T, ..] with zeros at the ends, and their lengths."""
    longest = max(map(len, sequences))
    pad = lambda x: jnp.pad(x, [(0, longest - len(x))] + [(0, 0)] * (x.ndim - 1))  # noqa: E731
    return jnp.stack([pad(x) for x in sequences]), jnp.array(list(map(len, sequences)), jnp.int32)


def num_same(x: Array, lengths: Int[Array, "N"], rebuilt: Samples) -> int:
    """How many steps of the sequences were rebuilt as they are."""
    same = (rebuilt.symbols == x).reshape(*x.shape[:2], -1).all(-1)
    return int((same & (jnp.arange(x.shape[1]) < lengths[:, None])).sum())


def continue_from(
    model: SequenceModel,
    opening: Values,
    key: PRNGKeyArray,
    *,
    num_samples: int = 1,
    length: int | None = None,
    temperature: float | Array = 1.0,
    greedy: bool = False,
    num_proposals: int = 32,
    mesh: Mesh | None = None,
) -> Samples:
    """Draw sequences that begin with the k steps of the opening: p(x | x_{1..k}).

    A language model reads the opening and writes on, which is exact, and so does a codebook flow
    that reads codes which are apart denoised. For the other latent flows the conditional is
    intractable, because every x_t depends on all of z; it is approximated by
    sampling-importance-resampling (Rubin, 1988). Of S proposals one is kept, with probability in
    proportion to
    ``p(x_{1..k} | z) p(z_{1..k}) / q(z_{1..k} | x_{1..k})``: z_{1..k} is drawn from the posterior
    that has read the opening, the later latents from the prior given these (fresh noise), and the
    later symbols from p(x_t | z). With S to infinity the samples are exact. With few proposals for
    a long opening they lean towards the proposal: the later part then follows the opening's
    latents, but they were not chosen for what they let follow. The samples are independent.

    Args:
        model: a trained one.
        opening: ids [k] or bits [k, V].
        key: one, or one for each sample, [N].
        num_samples: N.
        length: steps of every sample, more than k; None draws from p(T | x_{1..k}, T > k) in the
            same way (for a language model too).
        temperature: as for ``sample``, on what is added; the weights are the model's own.
        greedy: add the most probable symbols given z (for a language model: given the past).
        num_proposals: S; costs that many samples each. Without effect on a language model at a
            length.
        mesh: devices that draw a share of the samples each, as for ``sample``.

    Raises:
        UserError: the opening is empty or as long as a sequence can be, or as for ``sample``.

    Examples:
        >>> import jax, nlf_jax
        >>> model = nlf_jax.load("pretrained:king_james")
        >>> line = model.vocabulary.encode("And the earth was without form,")  # ids [31]
        >>> more = nlf_jax.continue_from(model, line[:8], jax.random.key(0), length=31)
        >>> model.vocabulary.decode(*more)[0].startswith("And the ")
        True
    """
    num_samples = arguments.count("num_samples", num_samples)
    num_proposals = arguments.count("num_proposals", num_proposals)
    length, temperature = arguments.length(model, length), arguments.temperature(temperature)
    keys, opening = arguments.keys(key, num_samples), arguments.sequence(model, opening)
    longest = model.max_length if length is None else length
    if len(opening) >= longest:
        raise UserError(
            f"the opening has {len(opening)} steps, the longest sequence {longest}: nothing is left"
        )
    if isinstance(model.network, LanguageModel) and length is not None:
        num_proposals = 1
    counts = (num_samples, num_proposals)
    model = model if mesh is None else replicate(model, mesh)
    greedy = arguments.flag("greedy", greedy)
    return _continue(model, opening, keys, temperature, counts, length, greedy, mesh)


@partial(jax.jit, static_argnums=(4, 5))
def _reconstruct(model, x, lengths, keys, greedy, mesh) -> Samples:
    keys = keys if keys.ndim else jax.random.split(keys, len(lengths))
    rebuild = partial(_rebuild, greedy=greedy)
    return map_rows(rebuild, mesh, (x, lengths, keys), model)


def _rebuild(rows: tuple[Array, Array, PRNGKeyArray], model, *, greedy: bool) -> Samples:
    (x, lengths, keys), network = rows, model.network
    latent_keys, symbol_keys = split_each(keys)
    z = _latent(network, jnp.swapaxes(x, 0, 1), lengths, latent_keys, greedy)
    return _decode(network, z, lengths, symbol_keys, greedy)


@partial(jax.jit, static_argnums=(4, 5, 6))
def _interpolate(model, ends, end_lengths, key, num_points, greedy, mesh) -> Samples:
    network = model.network
    latent_key, symbol_key = jax.random.split(key)
    latent_keys = jax.random.split(latent_key)
    z = _latent(network, jnp.swapaxes(ends, 0, 1), end_lengths, latent_keys, greedy)
    noise, _ = network.prior.inverse_and_log_det(z, SequenceContext(end_lengths))
    way = jnp.linspace(0.0, 1.0, num_points, dtype=jnp.float32)
    shares = jnp.stack([1.0 - way, way], axis=1)
    lengths = jnp.round((shares * end_lengths.astype(jnp.float32)[None]).sum(1)).astype(jnp.int32)
    noise = jax.vmap(_blend, (None, None, 0))(jnp.swapaxes(noise, 0, 1), end_lengths, shares)
    rows = (noise, lengths, jax.random.split(symbol_key, num_points))
    return map_rows(partial(_from_noise, greedy=greedy), mesh, rows, model)


def _from_noise(rows: tuple[Array, Array, PRNGKeyArray], model, *, greedy: bool) -> Samples:
    noise, lengths, keys = rows
    context = SequenceContext(lengths)
    z, _ = model.network.prior.forward_and_log_det(jnp.swapaxes(noise, 0, 1), context)
    return _decode(model.network, z, lengths, keys, greedy)


def _decode(network: LatentVariableModel, z, lengths, keys, greedy: bool) -> Samples:
    symbols = network.draw(network.scores(z, lengths), keys, jnp.ones((), jnp.float32), greedy)
    return padded(symbols, lengths)


@partial(jax.jit, static_argnums=(4, 5, 6, 7))
def _continue(model, opening, keys, temperature, counts, length, greedy, mesh) -> Samples:
    num_samples, num_proposals = counts
    keys = keys if keys.ndim else jax.random.split(keys, num_samples)
    go_on = partial(_go_on, num_proposals=num_proposals, length=length, greedy=greedy)
    return map_rows(go_on, mesh, keys, model, opening, temperature)


def _go_on(
    keys, model, opening, temperature, *, num_proposals: int, length: int | None, greedy: bool
) -> Samples:
    """The sample of each key, [N]: one of its proposals."""
    choice_keys, keys = split_each(keys)
    num_samples = len(keys)
    keys = jax.vmap(partial(jax.random.split, num=num_proposals))(keys).reshape(-1)
    length_keys, keys = split_each(keys)
    lengths = jax.vmap(partial(_draw_length, model, len(opening), length))(length_keys)
    num_steps = model.max_length if length is None else length
    symbols, log_weights = model.network.continuation(
        opening, lengths, num_steps, keys, temperature, greedy
    )
    log_weights = log_weights.reshape(num_samples, num_proposals)
    chosen = jax.vmap(jax.random.categorical)(choice_keys, log_weights)
    chosen += num_proposals * jnp.arange(num_samples, dtype=chosen.dtype)
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
    draw = partial(jax.random.normal, shape=shape, dtype=jnp.float32)
    return posterior.sample(jax.vmap(draw, out_axes=1)(keys))


def _blend(
    noise: Float[Array, "2 T D"], lengths: Int[Array, "2"], shares: Float[Array, "2"]
) -> Float[Array, "T D"]:
    """Weighted sum of unit variance; a step that only one end has is that end's."""
    present = step_mask(lengths, noise.shape[1]).T
    weights = jnp.where(present, shares[:, None], 0.0)
    scale = jnp.sqrt((weights**2).sum(0))
    weights = weights / jnp.where(scale > 0.0, scale, 1.0)[None]
    return (weights[..., None] * noise).sum(0)


def _require_latent(model: SequenceModel) -> None:
    if not isinstance(arguments.checked(model).network, LatentVariableModel):
        raise UserError(
            f"the {model.network.config.model} has no latent to reconstruct from or interpolate: "
            f"use a model of {', '.join(LATENT_MODELS)}"
        )
