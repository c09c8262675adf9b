"""The options of a run at the command line: recipes, overrides, and how values are read."""

import contextlib
from collections.abc import Iterator
from typing import Any

from nlf_jax import options
from nlf_jax.errors import UserError, printable
from nlf_jax.options import KINDS, suggestion
from nlf_jax.training.config import TrainConfig
from nlf_jax.training.recipes import changed, recipe

OPTIONS = options.options_of(TrainConfig)


def get_config(
    experiment: str, model: str, size: str, dataset: str | None = None, **changes: Any
) -> TrainConfig:
    """The config of a run that changes some options; arguments: see ``recipe``."""
    values = recipe(experiment, model, size, dataset, changes.get("recurrence"))
    with named_as_flags():
        return changed(values, changes)


@contextlib.contextmanager
def named_as_flags() -> Iterator[None]:
    """An error that begins with an option's name gives it as the command line does."""
    try:
        yield
    except UserError as error:
        raise UserError(f"--config.{error}") from error


def read_value(name: str, text: str) -> Any:
    """The value of an option that the command line's text means.

    Raises:
        UserError: there is no such option, or the text is not a value of its type.
    """
    if name not in OPTIONS:
        raise UserError(f"unknown option --config.{printable(name)}{suggestion(name, OPTIONS)}.")
    kind = type(OPTIONS[name].default)
    try:
        return _READERS[kind](text)
    except (ValueError, OverflowError) as error:
        raise UserError(f"--config.{name} needs {KINDS[kind]}, got {text!r}.") from error


def _read_ints(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.strip("()[] ").split(",") if part.strip())


def _read_bool(text: str) -> bool:
    if text.lower() not in ("true", "1", "false", "0"):
        raise ValueError(text)
    return text.lower() in ("true", "1")


_READERS = {bool: _read_bool, int: int, float: float, str: str, tuple: _read_ints}
