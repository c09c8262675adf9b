"""Drawing sequences from a model."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Int, PRNGKeyArray

from nlf_jax.errors import UserError
from nlf_jax.mesh import ROWS, WHOLE, over_rows, replicate, replicated
from nlf_jax.models import SequenceModel


class Samples(NamedTuple):
    """N sequences, right-padded to a common T.

    Attributes:
        symbols: ids int32 [N, T], or bits bool [N, T, V]; zero past a row's length.
        lengths: int32 [N].
    """

    symbols: Array
    lengths: Int[Array, "N"]


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
        length: number of steps of every sample; None draws each from the length prior.
        temperature: 1 is the model itself, less is more typical. Scales the noise and divides the
            scores.
        greedy: take the most probable symbol given z (for a language model: given the past).
        mesh: devices that draw a share of the samples each; every process gets all of them, and
            the same as without a mesh.

    Raises:
        UserError: num_samples, length or temperature is out of range.
    """
    check_arguments(model, num_samples, length, temperature)
    if mesh is None:
        return _sample(model, key, num_samples, length, temperature, greedy)
    model = replicate(model, mesh)
    return _sample_on_mesh(model, key, num_samples, length, temperature, greedy, mesh)


@partial(jax.jit, static_argnums=(2, 3, 5))
def _sample(model, key, num_samples, length, temperature, greedy) -> Samples:
    lengths, keys = _draw_lengths(model, key, num_samples, length)
    return _draw_symbols(lengths, keys, model, temperature, length=length, greedy=greedy)


@partial(jax.jit, static_argnums=(2, 3, 5, 6))
def _sample_on_mesh(model, key, num_samples, length, temperature, greedy, mesh: Mesh) -> Samples:
    """As ``_sample``, each device drawing its rows of a number that all of them divide."""
    lengths, keys = _draw_lengths(model, key, num_samples + -num_samples % mesh.size, length)
    draw = partial(_draw_symbols, length=length, greedy=greedy)
    by_rows = over_rows(draw, mesh, (ROWS, ROWS, WHOLE, WHOLE), ROWS)
    samples = by_rows(lengths, keys, model, jnp.float32(temperature))
    samples = jax.tree.map(lambda rows: rows[:num_samples], samples)
    return jax.lax.with_sharding_constraint(samples, replicated(mesh))


def _draw_lengths(
    model: SequenceModel, key: PRNGKeyArray, num_samples: int, length: int | None
) -> tuple[Int[Array, "N"], PRNGKeyArray]:
    """Lengths, and a key for each row, [N]."""
    length_key, symbol_key = jax.random.split(key)
    if length is None:
        log_prob = model.length_log_prob.at[0].set(-jnp.inf)
        lengths = jax.random.categorical(length_key, log_prob, shape=(num_samples,))
    else:
        lengths = jnp.full(num_samples, length)
    return lengths.astype(jnp.int32), jax.random.split(symbol_key, num_samples)


def _draw_symbols(
    lengths: Int[Array, "N"],
    keys: PRNGKeyArray,
    model: SequenceModel,
    temperature: float | Array,
    *,
    length: int | None,
    greedy: bool,
) -> Samples:
    """Rows given their lengths; no row depends on another."""
    num_steps = model.length_log_prob.shape[0] - 1 if length is None else length
    symbols = model.network.generate(lengths, num_steps, keys, jnp.float32(temperature), greedy)
    return padded(symbols, lengths)


def check_arguments(
    model: SequenceModel, num_samples: int, length: int | None, temperature: float | Array
) -> None:
    """Raises a UserError that names the argument, unless each is in its range."""
    longest = model.length_log_prob.shape[0] - 1
    if num_samples < 1:
        raise UserError(f"num_samples is {num_samples}: ask for at least one")
    if length is not None and not 1 <= length <= longest:
        raise UserError(f"length is {length}: this model makes sequences of 1 to {longest} steps")
    if isinstance(temperature, int | float) and not 0 < temperature < float("inf"):
        raise UserError(f"temperature is {temperature}: choose a number above 0")


def padded(symbols: Array, lengths: Int[Array, "N"]) -> Samples:
    """Samples of symbols that mean nothing past a row's length; they become zero there."""
    mask = jnp.arange(symbols.shape[1]) < lengths[:, None]
    mask = mask.reshape(mask.shape + (1,) * (symbols.ndim - 2))
    return Samples(jnp.where(mask, symbols, jnp.zeros((), symbols.dtype)), lengths)
