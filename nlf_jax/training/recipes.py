"""The recipes: where an experiment, a model or a size differs from the options' defaults.

To tune one, edit ``RECIPES``: a later row wins over an earlier one.
"""

import dataclasses
from typing import Any

from nlf_jax.errors import UserError
from nlf_jax.models.config import LANGUAGE_MODELS, MODELS, RECURRENCES, unread_options
from nlf_jax.options import options_of, require_choice
from nlf_jax.training.config import TrainConfig

AF_MODELS = ("af_scf", "af_af", "af_only", "af_nohidden")
SIZES = ("tiny", "small", "paper", "tuned")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Values for the runs that match every condition given; an empty condition matches all."""

    values: dict[str, Any]
    size: tuple[str, ...] = SIZES
    model: tuple[str, ...] = MODELS
    experiment: tuple[str, ...] = ()
    dataset: tuple[str, ...] = ()
    recurrence: tuple[str, ...] = RECURRENCES

    def matches(
        self, experiment: str, model: str, size: str, dataset: str | None, recurrence: str
    ) -> bool:
        """Whether the recipe is for this run."""
        anywhere = not self.experiment or experiment in self.experiment
        any_data = not self.dataset or dataset in self.dataset
        fits = model in self.model and size in self.size and recurrence in self.recurrence
        return anywhere and any_data and fits


SMALL = {
    "embedding": 128, "hidden": 128, "latent": 16, "length_smoothing": True, "batch_size": 16,
    "num_epochs": 6, "elbo_samples": 1, "grad_clip": 1.0, "schedule": "cosine", "dropout": 0.0,
    "learning_rate": 3e-3, "kl_zero_epochs": 0.05, "kl_ramp_epochs": 0.4, "nll_samples": 10,
    "eval_batch_size": 32,
}  # fmt: skip
OWN_TEXT = {"num_epochs": 10, "kl_zero_epochs": 0.5, "kl_ramp_epochs": 2.0}
QUICK = {
    "embedding": 64, "hidden": 64, "latent": 8, "flow_hidden": 64, "max_length": 96,
    "buckets": (), "batch_size": 32, "num_epochs": 2, "kl_zero_epochs": 0.1,
    "kl_ramp_epochs": 0.5,
}  # fmt: skip
# Four in ten lines of Penn Treebank are no longer; with 16 as for music it would be one in 66.
TINY_TEXT = {"max_length": 96, "buckets": (16, 32, 64)}
# The text is long for a model of seconds.
QUICK_TINY = {"max_length": 40, "batch_size": 256, "eval_batch_size": 256, "num_epochs": 1}
TINY = {
    "embedding": 8, "hidden": 8, "latent": 4, "lstm_layers": 1, "flow_layers": 2, "flow_hidden": 8,
    "length_smoothing": True, "max_length": 16, "buckets": (), "batch_size": 16, "num_epochs": 3,
    "elbo_samples": 1, "grad_clip": 1.0, "learning_rate": 3e-3, "kl_zero_epochs": 0.5,
    "kl_ramp_epochs": 0.5, "nll_samples": 2, "eval_batch_size": 16, "log_every": 10,
    "checkpoint_every": 20,
}  # fmt: skip
NO_KL = {"elbo_samples": 1, "kl_zero_epochs": 0.0, "kl_ramp_epochs": 0.0}
# Language models, and the codebook flow, which is one.
AS_LANGUAGE_MODELS = (*LANGUAGE_MODELS, "af_codebook")
SMALL_LANGUAGE = {"optimizer": "adam", "dropout": 0.1, "num_epochs": 8}
QUICK_LANGUAGE = {
    "embedding": 128, "hidden": 128, "latent": 16, "dropout": 0.0, "batch_size": 16,
    "num_epochs": 4, "nll_samples": 4,
}  # fmt: skip
# Penn Treebank within two hours of one core; how it was chosen: results/README.md.
PTB_TUNED = {
    "latent": 16, "length_smoothing": True, "batch_size": 16, "elbo_samples": 1, "grad_clip": 1.0,
    "optimizer": "adam", "schedule": "cosine", "nll_samples": 10, "eval_batch_size": 32,
    "kl_zero_epochs": 0.1, "kl_ramp_epochs": 0.8,
}  # fmt: skip
PTB_TUNED_LSTM = {
    "embedding": 384, "hidden": 384, "dropout": 0.25, "num_epochs": 11, "learning_rate": 2e-3,
}  # fmt: skip
PTB_TUNED_GATED = {
    "embedding": 256, "hidden": 256, "lstm_layers": 3, "dropout": 0.1, "num_epochs": 10,
    "learning_rate": 3e-3,
}  # fmt: skip
MUSIC = {
    "emission": "bernoulli", "length_smoothing": True, "max_length": 6000, "batch_size": 5,
    "buckets": (64, 96, 128, 160, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4288),
    "elbo_samples": 1, "patience": 2, "eval_batch_size": 5,
}  # fmt: skip
MUSIC_SMALL = {
    "latent": 32, "num_epochs": 60, "grad_clip": 0.25, "schedule": "plateau",
    "learning_rate": 1e-3, "kl_zero_epochs": 13.0, "kl_ramp_epochs": 9.0, "nll_samples": 30,
}  # fmt: skip
# Chosen by JSB chorales' validation score.
MUSIC_TUNED = {
    "embedding": 256, "hidden": 256, "latent": 32, "frame_units": 200, "dropout": 0.5,
    "vae_dropout": 0.5, "num_epochs": 60, "optimizer": "adam", "learning_rate": 1e-3,
    "grad_clip": 1.0, "schedule": "cosine", "kl_zero_epochs": 8.0, "kl_ramp_epochs": 12.0,
    "nll_samples": 30,
}  # fmt: skip
LONG_PIECES = {"batch_size": 1, "accumulate": 8, "nll_samples": 4, "eval_batch_size": 1}
MUSIC_EXPERIMENTS = ("polyphonic", "bach", "midi")
# Experiments with a size "tuned".
TUNED = (*MUSIC_EXPERIMENTS, "ptb_char")

RECIPES = (
    Recipe({"flow_layers": 3, "dropout": 0.0}, model=("iaf_scf", "iaf_af")),
    Recipe({"optimizer": "sgd", "learning_rate": 20.0, "dropout": 0.1}, model=("lstm",)),
    Recipe({"adam_b2": 0.99}, recurrence=("gated",)),
    Recipe(SMALL, size=("small",)),
    Recipe(SMALL_LANGUAGE, size=("small",), model=AS_LANGUAGE_MODELS),
    Recipe(PTB_TUNED | PTB_TUNED_LSTM, ("tuned",), MODELS, ("ptb_char",)),
    Recipe(PTB_TUNED_GATED, ("tuned",), MODELS, ("ptb_char",), recurrence=("gated",)),
    Recipe(OWN_TEXT, size=("small",), experiment=("text",)),
    Recipe(QUICK, size=("small",), experiment=("quickstart",)),
    Recipe(QUICK_LANGUAGE, ("small",), AS_LANGUAGE_MODELS, ("quickstart",)),
    Recipe(TINY, size=("tiny",)),
    Recipe(TINY_TEXT, size=("tiny",), experiment=("ptb_char", "text")),
    Recipe(QUICK_TINY, size=("tiny",), experiment=("quickstart",)),
    Recipe({"optimizer": "adam"}, size=("tiny",), model=("lstm",)),
    Recipe(MUSIC, experiment=MUSIC_EXPERIMENTS),
    Recipe({"kl_zero_epochs": 21.0, "kl_ramp_epochs": 15.0}, ("paper",), MODELS, MUSIC_EXPERIMENTS),
    Recipe(MUSIC_SMALL, size=("small",), experiment=MUSIC_EXPERIMENTS),
    Recipe(MUSIC_TUNED, size=("tuned",), experiment=MUSIC_EXPERIMENTS),
    Recipe(LONG_PIECES, experiment=("polyphonic",), dataset=("muse_data", "piano_midi")),
    Recipe({"dropout": 0.2}, ("small",), AF_MODELS, MUSIC_EXPERIMENTS),
    Recipe({"mixtures": 8}, ("tuned",), AS_LANGUAGE_MODELS, MUSIC_EXPERIMENTS),
    Recipe({"average": 0.995}, ("tuned",), ("af_codebook", "gated"), MUSIC_EXPERIMENTS),
    Recipe({"patience": 4}, ("paper",), ("lstm",), MUSIC_EXPERIMENTS),
    Recipe({"max_length": 1024}, experiment=("midi",)),
    Recipe(NO_KL, model=AS_LANGUAGE_MODELS),
    Recipe({"frame_units": 200, "code_width": 0.1}, SIZES, ("af_codebook",), MUSIC_EXPERIMENTS),
)


def changed(values: dict[str, Any], changes: dict[str, Any]) -> TrainConfig:
    """The config of a recipe's values with some changed.

    Raises:
        UserError: begins with the option's name; a value is not allowed, or nothing would read it.
    """
    config = TrainConfig(**values | changes)
    for name in sorted(changes.keys() & unread_options(vars(config))):
        if changes[name] != values[name]:
            raise UserError(f"{name} changes nothing in {config.model}: leave it out.")
    return config


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
    if recurrence and model in LANGUAGE_MODELS and recurrence != model:
        raise UserError(f"recurrence {recurrence} is not that of the model {model}.")
    known = {name: declared.default for name, declared in options_of(TrainConfig).items()}
    recurrence = recurrence or ("gated" if model == "gated" else known["recurrence"])
    values = known | {"model": model, "recurrence": recurrence}
    for each in RECIPES:
        if each.matches(experiment, model, size, dataset, recurrence):
            values |= each.values
    return values
