"""Drawing sequences from a model."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nlf_jax import arguments
from nlf_jax.data.music.piano_roll import decode_rolls
from nlf_jax.mesh import map_rows, replicate
from nlf_jax.models import SequenceModel
from nlf_jax.models.base import split_each
from nlf_jax.nn.position import step_mask


class Samples(NamedTuple):
    """N sequences, right-padded to a common T.

    Attributes:
        symbols: ids int32 [N, T], or bits bool [N, T, V]; zero past a row's length.
        lengths: int32 [N].

    Examples:
        >>> import nlf_jax
        >>> from nlf_jax.data.text.vocabulary import Vocabulary
        >>> samples = nlf_jax.Samples(symbols=[[2, 3, 4], [4, 2, 0]], lengths=[3, 2])
        >>> Vocabulary(("a", "b", "c")).decode(*samples)
        ['abc', 'ca']
    """

    symbols: Array
    lengths: Int[Array, "N"]


def decoded(model: SequenceModel, samples: Samples) -> list[Any]:
    """Samples as texts, as rolls bool [T, 88], or where there is no vocabulary as ids in text."""
    symbols, lengths = jax.device_get(samples)
    if not model.network.config.is_text:
        return decode_rolls(symbols, lengths)
    if model.vocabulary is not None:
        return model.vocabulary.decode(symbols, lengths)
    return [" ".join(map(str, row[:length])) for row, length in zip(symbols, lengths, strict=True)]


def sample(
    model: SequenceModel,
    key: PRNGKeyArray,
    *,
    num_samples: int = 1,
    length: int | None = None,
    temperature: float | Array = 1.0,
    greedy: bool = False,
    mesh: Mesh | None = None,
) -> Samples:
    """Draw sequences: T ~ p(T), z ~ prior given T, x_t ~ p(x_t | z) independently.

    One compiled call; works inside ``jax.jit`` and ``jax.vmap``. ``num_samples``, ``length`` and
    ``greedy`` are static.

    Args:
        model: a trained one.
        key: one, or one for each sample, [N].
        num_samples: N.
        length: number of steps of every sample; None draws each from the length prior.
        temperature: 1 is the model itself, less is more typical; 1e-30 to 1e6. Divides the scores
            and, but in a codebook flow, scales the noise.
        greedy: take the most probable symbol given z (for a language model: given the past).
        mesh: devices that draw a share of the samples each; every process gets all of them, and
            the same as without a mesh.

    Raises:
        UserError: an argument is out of its range, or of the wrong type.

    Examples:
        >>> import jax, nlf_jax
        >>> model = nlf_jax.load("pretrained:king_james")
        >>> samples = nlf_jax.sample(model, jax.random.key(0), num_samples=2, length=31)
        >>> [len(text) for text in model.vocabulary.decode(*samples)]
        [31, 31]
    """
    num_samples = arguments.count("num_samples", num_samples)
    length = arguments.length(model, length)
    keys, temperature = arguments.keys(key, num_samples), arguments.temperature(temperature)
    model = model if mesh is None else replicate(model, mesh)
    greedy = arguments.flag("greedy", greedy)
    return _sample(model, keys, temperature, num_samples, length, greedy, mesh)


@partial(jax.jit, static_argnums=(3, 4, 5, 6))
def _sample(model, keys, temperature, num_samples, length, greedy, mesh) -> Samples:
    keys = keys if keys.ndim else jax.random.split(keys, num_samples)
    draw = partial(_draw, length=length, greedy=greedy)
    return map_rows(draw, mesh, keys, model, temperature)


def _draw(
    keys: PRNGKeyArray,
    model: SequenceModel,
    temperature: Float[Array, ""],
    *,
    length: int | None,
    greedy: bool,
) -> Samples:
    """A sample for each key, [N]; none depends on another."""
    length_keys, symbol_keys = split_each(keys)
    lengths = jax.vmap(partial(_draw_length, model, length))(length_keys)
    num_steps = model.max_length if length is None else length
    symbols = model.network.generate(lengths, num_steps, symbol_keys, temperature, greedy)
    return padded(symbols, lengths)


def _draw_length(model: SequenceModel, length: int | None, key: PRNGKeyArray) -> Int[Array, ""]:
    """The given length, or a draw from p(T)."""
    if length is not None:
        return jnp.int32(length)
    log_prob = model.length_log_prob.at[0].set(-jnp.inf)
    return jax.random.categorical(key, log_prob).astype(jnp.int32)


def padded(symbols: Array, lengths: Int[Array, "N"]) -> Samples:
    """Samples of symbols that mean nothing past a row's length; they become zero there."""
    mask = step_mask(lengths, symbols.shape[1]).T
    mask = mask.reshape(mask.shape + (1,) * (symbols.ndim - 2))
    return Samples(jnp.where(mask, symbols, jnp.zeros((), symbols.dtype)), lengths)
