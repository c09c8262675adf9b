"""The options table: every hyperparameter, its help and its default; how values are checked."""

import dataclasses
import difflib
import math
import reprlib
from collections.abc import Iterable
from typing import Any

from ml_collections import ConfigDict

from nlf_jax.cli.recipes import MODELS, RECIPES, SIZES, TUNED
from nlf_jax.errors import UserError, printable
from nlf_jax.models import config as models
from nlf_jax.training.workdir import ADDED_SINCE

# JAX makes a key of a seed below this; no other whole number needs more.
INTEGERS_BELOW = 2**32


@dataclasses.dataclass(frozen=True)
class Option:
    """One hyperparameter.

    Attributes:
      name: its name in the config and after `--config.`.
      default: value at size "paper"; its type is the option's type.
      help: what it is, for a newcomer.
      low: smallest value allowed.
      below: the value must be less than this.
      choices: the values allowed, if they are few.
    """

    name: str
    default: Any
    help: str
    low: float = 1
    below: float = math.inf
    choices: tuple[str, ...] = ()


OPTIONS = (
    Option("model", "af_scf", "time flow _ hidden flow, or a language model", choices=MODELS),
    Option("recurrence", "lstm", "of every network over time", choices=models.RECURRENCES),
    Option("posterior", "bilstm", "reads all, or each step alone", choices=models.POSTERIORS),
    Option("emission", "categorical", "symbols or keys", choices=("categorical", "bernoulli")),
    Option("mixtures", 1, "music: components of a frame's likelihood"),
    Option("frame_units", 0, "music: units of a network of a key's lower keys; 0: none", low=0),
    Option("embedding", 500, "size of a symbol's embedding"),
    Option("hidden", 500, "size of every recurrence"),
    Option("latent", 50, "latent dimensions of a time step"),
    Option("lstm_layers", 2, "layers of every LSTM, blocks of every gated recurrence"),
    Option("flow_layers", 5, "hidden-flow layers in a time step"),
    Option("flow_hidden", 100, "units in a hidden-flow network's layer"),
    Option("flow_hidden_layers", 2, "layers of a hidden-flow network"),
    Option("temporal_layers", 1, "flows across time, one on the other"),
    Option("transform", "nlsq", "of a number, in the flows", choices=models.TRANSFORMS),
    Option("mixture_components", 8, "of the transform mixture"),
    Option("code_width", 0.3, "af_codebook: standard deviation around a code", low=1e-3),
    Option("code_reading", "denoised", "af_codebook: what is read of z", choices=models.READINGS),
    Option("dropout", 0.2, "of the prior's or the language model's recurrence", low=0, below=1),
    Option("vae_dropout", 0.0, "of the posterior's and likelihood's networks", low=0, below=1),
    Option("tied", True, "output weights are the embedding"),
    Option("products", "float32", "factors of products, not the prior's", choices=models.PRODUCTS),
    Option("max_length", 288, "longer sequences are left out"),
    Option("length_smoothing", False, "give lengths never seen a small probability"),
    Option("buckets", (64, 96, 128, 160, 192, 224), "padded lengths, besides max_length"),
    Option("batch_size", 15, "sequences in a training step"),
    Option("accumulate", 1, "batches whose gradients are averaged for one update"),
    Option("transpose", 0, "music: move each roll at random, at most so many semitones", 0, 88),
    Option("num_epochs", 100, "passes over the training data"),
    Option("elbo_samples", 10, "latent samples in a training step"),
    Option("optimizer", "adam", "how gradients are used", choices=("adam", "sgd")),
    Option("learning_rate", 1e-3, "the first, or the cosine's highest", low=1e-12),
    Option("adam_b2", 0.999, "decay of Adam's mean square", low=0, below=1),
    Option("weight_decay", 0.0, "of matrices, decoupled, times the learning rate", low=0),
    Option("average", 0.0, "decay of an average of weights that is scored; 0: none", 0, 1),
    Option("grad_clip", 0.25, "gradients are scaled down to this norm", low=1e-12),
    Option("schedule", "plateau", "of the learning rate", choices=("plateau", "cosine")),
    Option("patience", 1, "epochs without improvement before the plateau rule divides by 4"),
    Option("kl_zero_epochs", 5.0, "epochs with next to no weight on the KL term", low=0),
    Option("kl_ramp_epochs", 10.0, "epochs in which that weight then rises to 1", low=0),
    Option("seed", 0, "decides the start, the order of the data and the noise", low=0),
    Option("nll_samples", 30, "importance samples of a score"),
    Option("eval_batch_size", 15, "sequences in a scoring step"),
    Option("log_every", 50, "steps between lines of progress"),
    Option("checkpoint_every", 500, "steps between checkpoints"),
)
# The published code says kl_zero 4, but counts epochs from -1: the weight is flat for 5 epochs.


_BY_NAME = {option.name: option for option in OPTIONS}


def get_config(
    experiment: str,
    model: str,
    size: str,
    dataset: str | None = None,
    recurrence: str | None = None,
) -> ConfigDict:
    """The locked config of a run.

    Args:
      experiment: name of the experiment, for instance "ptb_char".
      model: one of `MODELS`.
      size: one of `SIZES`; the experiments in `TUNED` have a "tuned" one.
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
    recurrence = recurrence or ("gated" if model == "gated" else _BY_NAME["recurrence"].default)
    values = {option.name: option.default for option in OPTIONS}
    values |= {"model": model, "recurrence": recurrence}
    for recipe in RECIPES:
        if recipe.matches(experiment, model, size, dataset, recurrence):
            values |= recipe.values
    return ConfigDict(values).lock()


def override(config: ConfigDict, name: str, text: str) -> None:
    """Sets an option from the command line's text.

    Raises:
      UserError: there is no such option, or the text is not a value of its type.
    """
    if name not in _BY_NAME:
        raise UserError(f"unknown option --config.{printable(name)}{suggestion(name, _BY_NAME)}.")
    default = _BY_NAME[name].default
    try:
        config[name] = _PARSERS[type(default)](text)
    except (ValueError, OverflowError) as error:
        kind = _KINDS[type(default)]
        raise UserError(f"--config.{name} needs {kind}, got {text!r}.") from error


def validate(config: ConfigDict) -> None:
    """Checks every value, alone and together.

    Raises:
      UserError: names the option, its value and what is allowed.
    """
    for option in OPTIONS:
        _check_option(option, config[option.name])
    if config.model.endswith("_scf") and config.latent < 2:
        raise UserError(f"{config.model} needs --config.latent of at least 2.")
    music = config.transpose or config.frame_units or config.mixtures > 1
    if config.emission != "bernoulli" and music:
        raise UserError("--config.transpose, mixtures and frame_units are for piano rolls only.")
    if config.tied and config.embedding != config.hidden:
        raise UserError(
            f"--config.tied shares weights between embedding={config.embedding} and "
            f"hidden={config.hidden}: make these equal or set --config.tied=false."
        )


def from_json(values: dict[str, Any]) -> ConfigDict:
    """The config that was written as a JSON object.

    Raises:
      UserError: an option is missing, of another type, unknown or invalid.
    """
    values = ADDED_SINCE | values
    if values.keys() != _BY_NAME.keys():
        names = ", ".join(sorted(values.keys() ^ _BY_NAME.keys()))
        raise UserError(f"the run's config was written by another version (differs in: {names}).")
    restored = {}
    for name, option in _BY_NAME.items():
        kind = type(option.default)
        value = tuple(values[name]) if isinstance(values[name], list) else values[name]
        if type(value) is not kind:
            raise UserError(f"the run's config is damaged: {name} is {reprlib.repr(value)}.")
        restored[name] = value
    config = ConfigDict(restored).lock()
    validate(config)
    return config


def bucket_lengths(config: ConfigDict, longest: int) -> tuple[int, ...]:
    """Padded lengths of batches: the buckets below the longest sequence, and its length."""
    return (*(b for b in config.buckets if b < longest), longest)


def require_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Raises a UserError that names the choices, the nearest first, unless value is one."""
    choices = tuple(choices)
    if value not in choices:
        near = suggestion(value, choices)
        raise UserError(f"{name} is {value!r}{near}; choose one of {', '.join(choices)}.")


def suggestion(name: str, known: Iterable[str]) -> str:
    """`; did you mean a or b?` for the near names, or nothing."""
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _check_option(option: Option, value: Any) -> None:
    name = f"--config.{option.name}"
    below = min(option.below, INTEGERS_BELOW) if type(option.default) is int else option.below
    if option.choices:
        require_choice(name, value, option.choices)
    elif isinstance(option.default, tuple):
        _check_increasing(name, value)
    elif not isinstance(value, bool) and not option.low <= value < below:
        limit = "" if below == math.inf else f" and less than {below:,}"
        raise UserError(f"{name} must be at least {option.low:g}{limit}, got {value}.")


def _check_increasing(name: str, values: tuple[int, ...]) -> None:
    wrong = any(type(v) is not int or not 1 <= v < INTEGERS_BELOW for v in values)
    if wrong or list(values) != sorted(set(values)):
        raise UserError(f"{name} must be increasing positive lengths, got {reprlib.repr(values)}.")


def _parse_ints(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.strip("()[] ").split(",") if part.strip())


def _parse_bool(text: str) -> bool:
    if text.lower() not in ("true", "1", "false", "0"):
        raise ValueError(text)
    return text.lower() in ("true", "1")


_PARSERS = {bool: _parse_bool, int: int, float: float, str: str, tuple: _parse_ints}
_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
    tuple: "whole numbers with commas between",
}
