"""Options: fields of a config class that know their help, their range and their age."""

import dataclasses
import difflib
import math
import numbers
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any

from nlf_jax.errors import UserError

# JAX makes a key of a seed below this; no other whole number needs more.
INTEGERS_BELOW = 2**32
# What no network and no batch has: sizes of a layer or a batch, layers, and steps of a sequence.
SIZES_BELOW, LAYERS_BELOW, LENGTHS_BELOW = 100_000, 200, 10_000_000
_MAX_LENGTHS = 10_000


@dataclasses.dataclass(frozen=True)
class Option:
    """What is known of an option, besides its name.

    Attributes:
        default: its value at size ``paper``; its type is the option's type.
        help: what it is, for a newcomer.
        low: smallest value allowed.
        below: the value must be less than this.
        choices: the values allowed, if they are few.
        since: the first format of a workdir that has it; in an older one it had its default.
    """

    default: Any
    help: str
    low: float = 1
    below: float = math.inf
    choices: tuple[str, ...] = ()
    since: int = 1


def option(default: Any, help: str, **known: Any) -> Any:  # noqa: A002
    """A dataclass field that is an option; arguments: see ``Option``."""
    return dataclasses.field(default=default, metadata={"option": Option(default, help, **known)})


def options_of(config: Any) -> dict[str, Option]:
    """The options of a config class, or of its instance, by name."""
    return {field.name: field.metadata["option"] for field in dataclasses.fields(config)}


def check(config: Any) -> None:
    """Check every value of a new config alone, and give each its option's exact type.

    Raises:
        UserError: begins with the option's name, then says what is allowed.
    """
    for name, declared in options_of(config).items():
        value = _typed(name, declared, getattr(config, name))
        _check_range(name, declared, value)
        object.__setattr__(config, name, value)


def complete(config: Any, values: Mapping[str, Any], written_as: int) -> dict[str, Any]:
    """The values of a workdir of an older format, with the options that came later."""
    later = {n: o.default for n, o in options_of(config).items() if o.since > written_as}
    return later | dict(values)


def restore(config: type, values: Any, written_as: int) -> Any:
    """The config that a workdir of a format holds as a JSON object.

    Raises:
        UserError: an option is missing, of another type, unknown or invalid.
    """
    if not isinstance(values, Mapping):
        raise UserError("the run's config is damaged: it is no JSON object.")
    values, known = complete(config, values, written_as), options_of(config)
    if values.keys() != known.keys():
        names = reprlib.repr(", ".join(sorted(values.keys() ^ known.keys())))
        raise UserError(f"the run's config was written by another version (differs in: {names}).")
    for name, value in values.items():
        kind = type(known[name].default)
        if type(value) is not (list if kind is tuple else kind):
            raise UserError(f"the run's config is damaged: {name} is {reprlib.repr(value)}.")
    return config(**values)


def require_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Raises a UserError that names the choices, the nearest first, unless value is one."""
    choices = tuple(choices)
    if value not in choices:
        near = suggestion(value, choices) if isinstance(value, str) else ""
        raise UserError(f"{name} is {value!r}{near}; choose one of {', '.join(choices)}.")


def suggestion(name: str, known: Iterable[str]) -> str:
    """``; did you mean a or b?`` for the near names, or nothing."""
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _typed(name: str, declared: Option, value: Any) -> Any:
    """The value as the option's type, if it is one of that kind."""
    kind = type(declared.default)
    fits = {
        bool: isinstance(value, bool),
        int: isinstance(value, numbers.Integral) and not isinstance(value, bool),
        float: isinstance(value, numbers.Real) and not isinstance(value, bool),
        str: isinstance(value, str),
        tuple: isinstance(value, tuple | list),
    }
    if not fits[kind]:
        raise UserError(f"{name} must be {KINDS[kind]}, got {reprlib.repr(value)}.")
    try:
        return kind(value)
    except OverflowError as error:
        raise UserError(f"{name} is too large: {reprlib.repr(value)}.") from error


def _check_range(name: str, declared: Option, value: Any) -> None:
    kind = type(value)
    below = min(declared.below, INTEGERS_BELOW) if kind is int else declared.below
    if declared.choices:
        require_choice(name, value, declared.choices)
    elif kind is tuple:
        _check_increasing(name, value)
    elif kind in (int, float) and not declared.low <= value < below:
        limit = "" if below == math.inf else f" and less than {below:,}"
        found = reprlib.repr(value)
        raise UserError(f"{name} must be at least {declared.low:g}{limit}, got {found}.")


def _check_increasing(name: str, values: tuple[int, ...]) -> None:
    wrong = any(type(v) is not int or not 1 <= v < LENGTHS_BELOW for v in values)
    if wrong or len(values) > _MAX_LENGTHS or list(values) != sorted(set(values)):
        raise UserError(
            f"{name} must be increasing lengths from 1 to below {LENGTHS_BELOW:,}, got "
            f"{reprlib.repr(values)}."
        )


KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
    tuple: "whole numbers with commas between",
}
