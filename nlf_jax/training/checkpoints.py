"""Checkpoints by Orbax, with a digest of our own, and ``load``.

Orbax writes a checkpoint under another name and renames it when it is whole, but it restores a
flipped bit without a word: so each one carries the SHA-256 of what was saved.
"""

import contextlib
import json
import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from nlf_jax.data.text.vocabulary import Vocabulary
from nlf_jax.errors import UserError
from nlf_jax.files import write_atomically
from nlf_jax.models import SequenceModel, create_network
from nlf_jax.options import restore
from nlf_jax.training import workdir as workdirs
from nlf_jax.training.arrays import digest, digest_json, from_arrays, to_arrays
from nlf_jax.training.checkpoint_reading import (
    LATE_SECONDS,
    alone,
    first_line,
    late_callbacks_ignored,
    quiet,
    read_parts,
)
from nlf_jax.training.config import TrainConfig
from nlf_jax.training.state import TrainState
from nlf_jax.training.workdir import step_numbers

NUM_KEPT = 3
BEST_FILE = "best.json"
DAMAGED = "damaged_checkpoints"
_ITEMS = ("model", "train", "meta")
_logger = logging.getLogger(__name__)
Meta = dict[str, Any]


class Restored(NamedTuple):
    """A checkpoint read back: its number, the state and the host's JSON object."""

    step: int
    state: TrainState
    meta: Meta


class CheckpointStore:
    """The checkpoints of a workdir: the newest 3 and the best by validation are kept.

    Of several processes only one may have it. Saving is asynchronous: an error may show at the
    next call.
    """

    def __init__(self, workdir: Path):
        self._workdir = workdir
        self._directory = (workdir / workdirs.CHECKPOINTS).absolute()  # Orbax wants it so
        self.best_step: int | None = None
        self._manager = self._open()
        self._noise = contextlib.ExitStack()
        self._noise.enter_context(late_callbacks_ignored())

    def save(self, step: int, state: TrainState, meta: Meta) -> None:
        """Saves in the background, unless the step has been saved.

        Args:
            step: larger than any saved before, or saved before.
            state: copied before the call returns.
            meta: JSON object of the host's own state.

        Raises:
            UserError: this save, or the one before, cannot be written.
        """
        if step in self._manager.all_steps():
            return
        model, train = to_arrays(state.model), to_arrays(state.replace(model=None))
        digests = {"model": digest(model), "train": digest(train), "host": digest_json(meta)}
        args = ocp.args.Composite(
            model=ocp.args.StandardSave(model),
            train=ocp.args.StandardSave(train),
            meta=ocp.args.JsonSave({"host": meta, "sha256": digests}),
        )
        with self._told_as_user_error(step), quiet():
            if not self._manager.save(step, args=args):
                raise OSError(f"Orbax did not save step {step}")

    def wait(self) -> None:
        """Waits until everything is on disk.

        Raises:
            UserError: the last save could not be written.
        """
        with self._told_as_user_error(None), quiet():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, without raising what saving raised before, and lets go."""
        try:
            with quiet():
                self._manager.close()
        except Exception:  # Orbax raises whatever its parts raise.
            time.sleep(LATE_SECONDS)
        self._noise.close()

    def restore_newest(self, template: TrainState) -> Restored | None:
        """The newest whole checkpoint; None if there is none at all.

        Damaged newer ones are moved out of the way, into the folder ``damaged_checkpoints``.

        Args:
            template: a state of the same structure; its values don't matter.

        Raises:
            UserError: there are checkpoints, but none is whole; nothing has been touched.
        """
        damaged: list[int] = []
        for step in reversed(step_numbers(self._directory)):
            try:
                restored = self._restore(step, template)
            except Exception as error:  # Orbax raises whatever its parts raise.
                _warn_damaged(self._directory / str(step), error)
                damaged.append(step)
                continue
            self._set_aside(damaged)
            return restored
        if damaged:
            raise UserError(_none_whole(self._directory))
        return None

    def write_best(self, step: int, loss: float) -> None:
        """Notes that a saved step is the best so far; it is kept from now on."""
        self.best_step = step
        text = json.dumps({"step": step, "valid_loss": loss})
        write_atomically(self._workdir / BEST_FILE, text)

    def forget_best(self) -> None:
        """No step is the best."""
        self.best_step = None
        (self._workdir / BEST_FILE).unlink(missing_ok=True)

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Orbax's hook: which of the checkpoints, in order of step, to keep."""
        recent = len(checkpoints) - NUM_KEPT
        return [i >= recent or c.step == self.best_step for i, c in enumerate(checkpoints)]

    def _open(self) -> ocp.CheckpointManager:
        options = ocp.CheckpointManagerOptions(
            preservation_policy=self,
            cleanup_tmp_directories=True,
            lightweight_initialize=True,
            create=False,
            multiprocessing_options=alone(),
        )
        with self._told_as_user_error(None), quiet():
            self._directory.mkdir(parents=True, exist_ok=True)
            return ocp.CheckpointManager(self._directory, options=options, item_names=_ITEMS)

    def _restore(self, step: int, template: TrainState) -> Restored:
        parts = read_parts(self._directory, step, _ITEMS)
        model = from_arrays(template.model, parts["model"])
        state = from_arrays(template.replace(model=None), parts["train"])
        return Restored(step, state.replace(model=model), parts["meta"]["host"])

    def _set_aside(self, steps: Sequence[int]) -> None:
        for step in steps:
            target = self._workdir / DAMAGED / str(step)
            target.parent.mkdir(exist_ok=True)
            number = 0
            while target.exists():
                number += 1
                target = target.with_name(f"{step}_{number}")
            (self._directory / str(step)).rename(target)
        if steps:
            self._manager.reload()

    @contextlib.contextmanager
    def _told_as_user_error(self, step: int | None) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # Orbax raises whatever its parts raise.
            at = "" if step is None else f" at step {step}"
            raise UserError(
                f"cannot save a checkpoint{at} in {self._directory} ({first_line(error)}); the "
                "older ones are untouched. Make room or make it writable, then give the same "
                "command again to go on."
            ) from error


def load(workdir: str | Path) -> SequenceModel:
    """The model of a trained workdir: the best by validation, or else the newest.

    Needs neither the data nor the training state.

    Args:
        workdir: directory that a training run wrote.

    Returns:
        A pytree with ``network``, ``length_log_prob`` and ``vocabulary``.

    Raises:
        UserError: there is no model, or no checkpoint of it is whole.
    """
    return load_with_step(Path(workdir).expanduser())[0]


def load_with_step(workdir: Path) -> tuple[SequenceModel, int]:
    """As ``load``, with the number of training steps of the model."""
    description, vocabulary = workdirs.read_description(workdir), workdirs.read_vocabulary(workdir)
    template = model_template(description, vocabulary, workdir)
    directory = workdir / workdirs.CHECKPOINTS
    steps = step_numbers(directory)
    if not steps:
        raise UserError(f"there is no checkpoint in {workdir} yet: train first.")
    best = [step for step in [read_best_step(workdir)] if step in steps]
    for step in best + steps[::-1]:
        try:
            parts = read_parts(directory, step, ("model", "meta"))
            return from_arrays(template, parts["model"]), step
        except Exception as error:  # Orbax raises whatever its parts raise.
            _warn_damaged(directory / str(step), error)
    raise UserError(_none_whole(directory))


def model_template(
    description: workdirs.Description, vocabulary_json: str | None, workdir: Path
) -> SequenceModel:
    """The model with shapes for arrays, as two files of the workdir describe it."""
    vocabulary = None if vocabulary_json is None else Vocabulary.from_json(vocabulary_json)
    try:
        config = restore(TrainConfig, description["config"], description["format"]).network
        data = description["data"]
        num_symbols, max_length = data["num_symbols"], data["max_length"]
        template = jax.eval_shape(
            lambda key: _blank_model(config, num_symbols, max_length, vocabulary, key),
            jax.random.key(0),
        )
    except (KeyError, TypeError, ValueError, UserError) as error:
        path = workdir / workdirs.CONFIG_FILE
        raise UserError(f"{path} does not describe a model ({first_line(error)}).") from error
    needed = config.is_text and not data.get("ids")
    if needed and (vocabulary is None or len(vocabulary) != num_symbols):
        raise UserError(f"{workdir / workdirs.VOCABULARY_FILE} is missing or of another model.")
    return template


def _blank_model(config, num_symbols, max_length, vocabulary, key) -> SequenceModel:
    network = create_network(config, num_symbols=num_symbols, max_length=max_length, key=key)
    prior = jnp.zeros(max_length + 1)
    return SequenceModel(network=network, length_log_prob=prior, vocabulary=vocabulary)


def read_best_step(workdir: Path) -> int | None:
    """The step of the best checkpoint by validation; None if there is none yet."""
    path = workdir / BEST_FILE
    try:
        step = json.loads(path.read_text(encoding="utf-8"))["step"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        step = None
    if type(step) is int:
        return step
    _logger.warning("%s is damaged; the newest checkpoint is taken for the best.", path)
    return None


def _warn_damaged(path: Path, error: Exception) -> None:
    _logger.warning("Checkpoint %s is damaged (%s); trying an older one.", path, first_line(error))


def _none_whole(directory: Path) -> str:
    return (
        f"none of the checkpoints in {directory} can be read; nothing was overwritten. Restore "
        "them from a copy, or start again in another --workdir."
    )
