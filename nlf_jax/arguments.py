"""What a user hands to the public functions, checked and brought into one form.

Shapes and types are checked always, values wherever they are known. Inside of ``jax.jit`` and other
transformations they are not: there an id outside of the vocabulary or a length that x does not have
gives a meaningless score.
"""

import operator
from collections.abc import Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray

from nlf_jax.errors import UserError
from nlf_jax.models import SequenceModel

Values: TypeAlias = ArrayLike | Sequence[Any]
"""Numbers as a user may have them: nested lists, NumPy's or JAX's arrays."""

# JAX counts rows with an int32.
_MOST = 2**31 - 1
# Beyond these a score or a latent is no float32 any more, and what is drawn means nothing.
_TEMPERATURES = (1e-30, 1e6)


def batch(model: SequenceModel, x: Values, lengths: Values) -> tuple[Array, Int[Array, "B"]]:
    """A batch of sequences: ids int32 [B, T], or bits bool [B, T, V], and lengths int32 [B].

    Args:
        model: decides what a symbol is.
        x: list or array of ids of any integer type, or of bits of any type.
        lengths: list or array of any integer type.

    Raises:
        UserError: naming what was expected and what was found, and where.
    """
    x, lengths = _array("x", x), _array("lengths", lengths)
    _check_shapes(model, x, lengths)
    if _is_known(lengths):
        _check_lengths(np.asarray(lengths), x.shape[1])
        if _is_known(x):
            _check_symbols(model, np.asarray(x), np.asarray(lengths))
    kind = jnp.int32 if model.network.config.is_text else bool
    return jnp.asarray(x).astype(kind), jnp.asarray(lengths).astype(jnp.int32)


def sequence(model: SequenceModel, x: Values) -> Array:
    """The symbols of one sequence: ids int32 [T], or bits bool [T, V].

    Raises:
        UserError: it is empty, or as for ``batch``.
    """
    checked(model)
    kind, x = type(x).__name__, _array("the sequence", x)
    if x.ndim == 0:
        raise UserError(f"the sequence is a {kind}: give ids [T] or bits [T, V]")
    if len(x) == 0:
        raise UserError("the sequence is empty: give at least one step")
    return batch(model, x[None], np.array([len(x)]))[0][0]


def checked(model: Any) -> SequenceModel:
    """The model.

    Raises:
        UserError: it is something else.
    """
    if not isinstance(model, SequenceModel):
        found = type(model).__name__
        raise UserError(f"the model is a {found}: give a SequenceModel, as load and fit make it")
    return model


def one_key(key: Any) -> PRNGKeyArray:
    """A typed key, made of a legacy one (``jax.random.PRNGKey``) if need be.

    Raises:
        UserError: it is no key, or several.
    """
    key = keys(key)
    if key.ndim:
        raise UserError(f"key has shape {key.shape}: give one key; jax.vmap takes several")
    return key


def keys(key: Any, num_rows: int | None = None) -> PRNGKeyArray:
    """As ``one_key``, but one for each of ``num_rows`` rows is right too.

    Raises:
        UserError: it is no key, or neither one nor ``num_rows``.
    """
    _require_there("key", key)
    if not (isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)):
        key = _from_legacy(key)
    if num_rows is not None and key.shape not in ((), (num_rows,)):
        raise UserError(f"key has shape {key.shape}: give one, or one for each of {num_rows} rows")
    return key


def count(name: str, value: Any, least: int = 1, most: int = _MOST) -> int:
    """A whole number from ``least`` to ``most``, static under ``jax.jit``.

    Raises:
        UserError: it is something else; the message has the name.
    """
    wrong = f"{name} is {value!r}: give a whole number, {least} to {most}"
    try:
        number = operator.index(value)
    except TypeError as error:
        raise UserError(wrong) from error
    if isinstance(value, bool) or not least <= number <= most:
        raise UserError(wrong)
    return number


def length(model: SequenceModel, value: Any) -> int | None:
    """A number of steps that the model can make, or None.

    Raises:
        UserError: it is something else.
    """
    longest = checked(model).max_length
    return None if value is None else count("length", value, 1, longest)


def flag(name: str, value: Any) -> bool:
    """True or False, static under ``jax.jit``.

    Raises:
        UserError: it is something else, or unknown; the message has the name.
    """
    known = isinstance(value, bool | np.bool_ | np.ndarray | jax.Array) and _is_known(value)
    if not known or np.shape(value) != () or np.asarray(value).dtype != bool:
        raise UserError(f"{name} is {value!r}: give True or False")
    return bool(value)


def temperature(value: Any) -> Float[Array, ""]:
    """A positive float32.

    Raises:
        UserError: it is known not to be one, or so small or large that nothing can be drawn.
    """
    least, most = _TEMPERATURES
    wanted = f"a number above 0, {least:g} to {most:g}"
    return _number("temperature", value, lambda number: least <= number <= most, wanted)


def weight(name: str, value: Any) -> Float[Array, ""]:
    """A float32 that is not negative.

    Raises:
        UserError: it is known not to be one; the message has the name.
    """
    return _number(name, value, lambda number: number >= 0, "a number that is not negative")


def _number(name: str, value: Any, is_right: Any, wanted: str) -> Float[Array, ""]:
    try:
        number = _array(name, value)
        number = _rounded(number) if _is_known(number) else number.astype(jnp.float32)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{name} is {value!r}: give {wanted}") from None
    if number.shape != ():
        raise UserError(f"{name} has shape {number.shape}: give one number")
    if _is_known(number) and not (np.isfinite(number) and is_right(number)):
        raise UserError(f"{name} is {value}: give {wanted}, neither infinite nor lost in float32")
    return jnp.asarray(number)


def _rounded(number: np.ndarray) -> np.float32:
    # What is too large becomes infinite, which is refused.
    with np.errstate(over="ignore"):
        return np.float32(number)


def _from_legacy(key: Any) -> PRNGKeyArray:
    wrong = f"the key is a {type(key).__name__}: make one with jax.random.key(0)"
    if not isinstance(key, jax.Array | np.ndarray) or key.dtype != np.uint32:
        raise UserError(wrong)
    try:
        return jax.random.wrap_key_data(jnp.asarray(key))
    except (TypeError, ValueError) as error:
        raise UserError(f"{wrong}; an array of {key.shape} is none") from error


def _array(name: str, value: Any) -> Any:
    """The value as an array, NumPy's unless it is JAX's."""
    _require_there(name, value)
    if isinstance(value, jax.Array):
        return value
    try:
        if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value)):
            return jnp.asarray(value)
        found = np.asarray(value)
    except (ValueError, TypeError):
        raise UserError(f"{name} is no array: give rows of the same length, padded") from None
    # JAX has no other order of bytes.
    found = found.astype(found.dtype.newbyteorder("="), copy=False)
    # An empty list has no type of its own.
    return found if found.size or isinstance(value, np.ndarray) else found.astype(np.int32)


def _require_there(name: str, value: Any) -> None:
    """Refuse arrays whose values, or some of them, are not there."""
    if np.ma.is_masked(value):
        raise UserError(f"{name} is masked in places: fill these in, and give lengths")
    if isinstance(value, jax.Array) and not isinstance(value, Tracer) and value.is_deleted():
        raise UserError(f"{name} was deleted, or donated to a program: give an array that is there")


def _is_known(x: Any) -> bool:
    if isinstance(x, Tracer):
        return False
    return not isinstance(x, jax.Array) or x.is_fully_addressable


def _check_shapes(model: SequenceModel, x: Any, lengths: Any) -> None:
    text, longest = checked(model).network.config.is_text, model.max_length
    if x.ndim != (2 if text else 3):
        wanted = "ids [B, T]" if text else "bits [B, T, V]"
        raise UserError(f"x has shape {x.shape}: this model takes {wanted}")
    if text and not jnp.issubdtype(x.dtype, jnp.integer):
        raise UserError(f"x has dtype {x.dtype}: ids must be integers")
    if not (x.dtype == bool or jnp.issubdtype(x.dtype, jnp.number)):
        raise UserError(f"x has dtype {x.dtype}: bits must be booleans or numbers")
    num_symbols = model.network.embedding.shape[0]
    if not text and x.shape[-1] != num_symbols:
        raise UserError(f"x has {x.shape[-1]} bits a step, the model has {num_symbols} outputs")
    if lengths.shape != x.shape[:1] or not jnp.issubdtype(lengths.dtype, jnp.integer):
        found = f"{lengths.dtype} {lengths.shape}"
        raise UserError(f"lengths are {found}: one integer for each of {x.shape[0]} rows")
    if x.shape[1] > longest:
        raise UserError(f"x has {x.shape[1]} steps, the model was made for at most {longest}")


def _check_lengths(lengths: np.ndarray, num_steps: int) -> None:
    for row in np.flatnonzero((lengths < 0) | (lengths > num_steps))[:1]:
        raise UserError(f"lengths[{row}] is {lengths[row]}: x has {num_steps} steps")


def _check_symbols(model: SequenceModel, x: np.ndarray, lengths: np.ndarray) -> None:
    """Refuse what is no symbol at a step that a row has."""
    if model.network.config.is_text:
        num_symbols = model.network.embedding.shape[0]
        wrong, wanted = (x < 0) | (x >= num_symbols), f"ids are 0 to {num_symbols - 1}"
    else:
        wrong, wanted = (x != 0) & (x != 1), "bits are 0 or 1"
    present = np.arange(x.shape[1]) < lengths[:, None]
    wrong &= present.reshape(present.shape + (1,) * (x.ndim - 2))
    for place in np.argwhere(wrong)[:1]:
        where = ", ".join(map(str, place))
        raise UserError(f"x[{where}] is {x[tuple(place)]}: {wanted}")
