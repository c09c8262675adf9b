"""The options of a run at the command line: recipes, overrides, and how values are read."""

from typing import Any

from nlf_jax import options
from nlf_jax.cli.recipes import RECIPES, SIZES, TUNED
from nlf_jax.errors import UserError, printable
from nlf_jax.models.config import MODELS
from nlf_jax.options import KINDS, require_choice, suggestion
from nlf_jax.training.config import TrainConfig

OPTIONS = options.options_of(TrainConfig)


def recipe(
    experiment: str,
    model: str,
    size: str,
    dataset: str | None = None,
    recurrence: str | None = None,
) -> dict[str, Any]:
    """The values of a run's options before any is overridden.

    Args:
        experiment: name of the experiment, for instance ``ptb_char``.
        model: one of ``MODELS``.
        size: one of ``SIZES``; the experiments in ``TUNED`` have a ``tuned`` one.
        dataset: the one chosen, if the experiment has several.
        recurrence: the one chosen, if one was.

    Raises:
        UserError: the model or the size is unknown.
    """
    require_choice("--model", model, MODELS)
    require_choice("--size", size, SIZES)
    if size == "tuned" and experiment not in TUNED:
        known = ", ".join(TUNED)
        raise UserError(f"--size=tuned is for {known}; {experiment} has tiny, small and paper.")
    recurrence = recurrence or ("gated" if model == "gated" else OPTIONS["recurrence"].default)
    values = {name: declared.default for name, declared in OPTIONS.items()}
    values |= {"model": model, "recurrence": recurrence}
    for each in RECIPES:
        if each.matches(experiment, model, size, dataset, recurrence):
            values |= each.values
    return values


def get_config(
    experiment: str, model: str, size: str, dataset: str | None = None, **changes: Any
) -> TrainConfig:
    """The config of a run that changes some options; arguments: see ``recipe``."""
    chosen = recipe(experiment, model, size, dataset, changes.get("recurrence"))
    return make_config(chosen | changes)


def make_config(values: dict[str, Any]) -> TrainConfig:
    """The config of the values; an error names the option as the command line does."""
    try:
        return TrainConfig(**values)
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
