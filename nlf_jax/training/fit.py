"""Training from Python: a list of sequences to a model."""

import contextlib
import numbers
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from nlf_jax import arguments
from nlf_jax.data.music.midi_roll import MAX_FRAMES_PER_QUARTER
from nlf_jax.data.sequences import corpus_of
from nlf_jax.errors import UserError
from nlf_jax.files import expanded, read_rows
from nlf_jax.models import SequenceModel
from nlf_jax.options import INTEGERS_BELOW, options_of, suggestion
from nlf_jax.training import metrics
from nlf_jax.training.config import TrainConfig
from nlf_jax.training.interrupts import StopSignal
from nlf_jax.training.loading import load
from nlf_jax.training.loop import Trainer
from nlf_jax.training.recipes import changed, recipe
from nlf_jax.training.workdir import check_workdir, describe, held

EXPERIMENT = "fit"
# Lengths of batches: so many of a corpus's own, each a multiple of a vector's width.
_NUM_BUCKETS, _MULTIPLE = 4, 8


class Fit(NamedTuple):
    """A trained model and how it came about.

    Attributes:
        model: the best by validation among those after the rise of the KL term's weight; of a run
            that ends before, the last.
        history: rows of metrics, in order: ``split`` is ``train`` or ``valid``; ``bpc`` (text) or
            ``nats_per_frame`` (music) is minus the ELBO, ``kl`` and ``recon`` are nats a symbol.

    Examples:
        >>> import nlf_jax
        >>> heads, tails = "an jo mar su di ro el".split(), "na sa anne ette ia sie ine".split()
        >>> names = [head + tail for head in heads for tail in tails]
        >>> fitted = nlf_jax.fit(names, size="tiny", num_epochs=2, progress=False)
        >>> [row["epoch"] for row in fitted.history if row["split"] == "valid"]
        [0, 1]
    """

    model: SequenceModel
    history: list[dict[str, Any]]


def fit(
    sequences: Sequence[Any],
    *,
    model: str = "af_codebook",
    size: str = "small",
    key: PRNGKeyArray | int = 0,
    num_epochs: int | None = None,
    validation: Sequence[Any] | float = 0.1,
    workdir: str | os.PathLike | None = None,
    progress: bool = True,
    frames_per_quarter: int = 4,
    **options: Any,
) -> Fit:
    """Train a model of sequences, with the trainer and the recipes of the command line.

    Vocabulary, padded lengths and length prior are made from the sequences. Ctrl-C saves and stops
    where there is a workdir; the same call then goes on.

    Args:
        sequences: strings, arrays of ids (int [T], from 0), or piano rolls (bool [T, 88]).
        model: one of ``nlf_jax.models.MODELS``.
        size: ``tiny``, ``small``, ``paper``, or for piano rolls ``tuned``.
        key: of ``jax.random``, or a seed: decides start, order and noise.
        num_epochs: passes over the sequences; None for the recipe's.
        validation: sequences to choose the best model by, or the share of ``sequences``.
        workdir: keeps checkpoints and metrics there, and goes on with the run found in it; None
            leaves nothing on disk.
        progress: shown on the terminal.
        frames_per_quarter: of piano rolls, 1 to 64, for the speed at which ``nlf`` writes samples.
        options: fields of ``TrainConfig``, over the recipe's values.

    Raises:
        UserError: a sequence, an option or the workdir is not of that form.

    Examples:
        >>> import jax, nlf_jax
        >>> heads, tails = "an jo mar su di ro el".split(), "na sa anne ette ia sie ine".split()
        >>> names = [head + tail for head in heads for tail in tails]
        >>> model, history = nlf_jax.fit(names, size="tiny", num_epochs=2, progress=False)
        >>> samples = nlf_jax.sample(model, jax.random.key(0), num_samples=5, temperature=0.7)
        >>> len(model.vocabulary.decode(*samples))
        5
    """
    if jax.process_count() > 1:
        raise UserError("fit runs in one process: use `nlf train` with several hosts.")
    _refuse(options)
    chosen = options | {"seed": _seed_of(key)}
    chosen |= {} if num_epochs is None else {"num_epochs": num_epochs}
    corpus = corpus_of(sequences, validation, chosen["seed"], chosen.pop("max_length", None))
    config = _config(model, size, corpus, chosen)
    name, most = "frames_per_quarter", MAX_FRAMES_PER_QUARTER
    frame = {name: arguments.count(name, frames_per_quarter, 1, most)}
    frame = None if corpus.is_text else frame
    description = describe(EXPERIMENT, config, corpus, frame=frame)
    with _directory(workdir) as directory, _stopped_by_signals() as stop:
        check_workdir(directory)
        with held(directory, description, corpus.vocabulary_json):
            trainer = Trainer(config, corpus, directory, show_progress=progress)
            done = trainer.run(lambda: bool(stop))
        if not done:
            raise KeyboardInterrupt(f"stopped after step {trainer.step}")
        return Fit(load(directory), read_rows(directory / metrics.FILE_NAME))


def _config(model: str, size: str, corpus: Any, chosen: dict[str, Any]) -> TrainConfig:
    """The recipe for one's own text or music, fitted to the corpus's lengths."""
    experiment = "text" if corpus.is_text else "midi"
    known = recipe(experiment, model, size, recurrence=chosen.get("recurrence"))
    lengths = np.array([len(sequence) for sequence in corpus.splits["train"]])
    shares = np.linspace(0.0, 1.0, _NUM_BUCKETS + 1)[1:-1]
    buckets = {-(-int(n) // _MULTIPLE) * _MULTIPLE for n in np.quantile(lengths, shares)}
    known |= {"buckets": tuple(sorted(buckets)), "max_length": corpus.max_length}
    return changed(known, chosen)


def _refuse(options: dict[str, Any]) -> None:
    """Refuse options that there are not, or that follow from the other arguments."""
    if "seed" in options or "emission" in options:
        raise UserError("seed and emission are no options of fit: give key; the data decide.")
    known = options_of(TrainConfig)
    for name in options.keys() - known.keys():
        raise UserError(f"there is no option {name}{suggestion(name, known)}: see TrainConfig.")


def _seed_of(key: Any) -> int:
    if isinstance(key, jax.Array | np.ndarray):
        return int(jax.random.bits(arguments.one_key(key), dtype=np.uint32))
    if not isinstance(key, numbers.Integral) or not 0 <= key < INTEGERS_BELOW:
        raise UserError(f"key is {key!r}: give a key of jax.random or a whole number from 0.")
    return int(key)


@contextlib.contextmanager
def _directory(workdir: str | os.PathLike | None) -> Iterator[Path]:
    if workdir is not None:
        yield expanded("workdir", workdir)
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)


def _stopped_by_signals() -> contextlib.AbstractContextManager[Any]:
    """Notes Ctrl-C; a signal reaches only the main thread."""
    in_main = threading.current_thread() is threading.main_thread()
    return StopSignal() if in_main else contextlib.nullcontext(False)
