"""Checkpoints by Orbax, with a digest of our own.

Orbax writes a checkpoint under another name and renames it when it is whole, but it restores a
flipped bit without a word: so each one carries the SHA-256 of what was saved.
"""

import contextlib
import json
import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orbax.checkpoint as ocp

from nlf_jax.errors import UserError
from nlf_jax.files import read_json, remove, unused, write_atomically
from nlf_jax.models import SequenceModel
from nlf_jax.training import workdir as workdirs
from nlf_jax.training.arrays import (
    digest,
    digest_json,
    from_arrays,
    shapes_of,
    to_arrays,
)
from nlf_jax.training.checkpoint_reading import (
    LATE_SECONDS,
    alone,
    first_line,
    late_callbacks_ignored,
    quiet,
    read_parts,
)
from nlf_jax.training.state import TrainState
from nlf_jax.training.template import model_template
from nlf_jax.training.workdir import step_numbers

NUM_KEPT = 3
BEST_FILE = "best.json"
DAMAGED = "damaged_checkpoints"
_MAX_BEST_BYTES = 10**4
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
            UserError: there are checkpoints, but none is whole, or one cannot be read now; nothing
                has been touched.
        """
        damaged: list[int] = []
        for step in reversed(step_numbers(self._directory)):
            try:
                restored = self._restore(step, template)
            except ValueError as error:
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
        remove(self._workdir / BEST_FILE)

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
        rest = template.replace(model=None)
        expected = {"model": shapes_of(template.model), "train": shapes_of(rest)}
        parts = read_parts(self._directory, step, _ITEMS, expected)
        model = from_arrays(template.model, parts["model"])
        state = from_arrays(rest, parts["train"])
        if int(state.step) != step:
            raise ValueError(f"it is of step {int(state.step)}")
        return Restored(step, state.replace(model=model), parts["meta"]["host"])

    def _set_aside(self, steps: Sequence[int]) -> None:
        folder = self._workdir / DAMAGED
        for step in steps:
            try:
                folder.mkdir(exist_ok=True)
                # Moves it to another disk too, where a link leads there.
                shutil.move(self._directory / str(step), unused(folder / str(step)))
            except OSError as error:
                raise UserError(f"cannot move a checkpoint to {folder}: {error}.") from error
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


def load_with_step(workdir: Path) -> tuple[SequenceModel, int]:
    """The best model by validation of a workdir, or else the newest, and its training steps.

    Raises:
        UserError: there is no model, no checkpoint of it is whole, or one cannot be read now.
    """
    description, vocabulary = workdirs.read_description(workdir), workdirs.read_vocabulary(workdir)
    template = model_template(
        description,
        vocabulary,
        config_in=str(workdir / workdirs.CONFIG_FILE),
        vocabulary_in=str(workdir / workdirs.VOCABULARY_FILE),
    )
    directory = workdir / workdirs.CHECKPOINTS
    steps = step_numbers(directory)
    if not steps:
        raise UserError(f"there is no checkpoint in {workdir} yet: train first.")
    best = read_best_step(workdir)
    if best is not None and best not in steps:
        _logger.warning("The best checkpoint, of step %d, is not in %s.", best, directory)
    candidates = sorted(steps, key=lambda step: (step == best, step), reverse=True)
    for step in candidates:
        try:
            parts = read_parts(directory, step, ("model", "meta"), {"model": shapes_of(template)})
            model = from_arrays(template, parts["model"])
        except ValueError as error:
            _warn_damaged(directory / str(step), error)
            continue
        _tell_choice(step, candidates[0], best or _best_step_by(parts["meta"]))
        return model, step
    raise UserError(_none_whole(directory))


def read_best_step(workdir: Path) -> int | None:
    """The step of the best checkpoint by validation; None if there is none yet.

    Raises:
        UserError: the file that says so cannot be read.
    """
    path = workdir / BEST_FILE
    try:
        step = read_json(path, _MAX_BEST_BYTES)["step"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        step = None
    if type(step) is int and 0 <= step < 10**18:
        return step
    _logger.warning("%s is damaged; the newest checkpoint is taken for the best.", path)
    return None


def _best_step_by(meta: Meta) -> int | None:
    """The step of the best checkpoint when another was saved, where its host says so."""
    try:
        step = meta["host"]["host"]["best_step"]
    except (KeyError, TypeError):
        return None
    return step if type(step) is int else None


def _tell_choice(step: int, first: int, best: int | None) -> None:
    """Warns if the model is not that which was to be taken."""
    if best not in (None, step):
        _logger.warning("The model of step %d is taken, though that of %d was best.", step, best)
    elif step != first:
        _logger.warning("The model of step %d is taken.", step)


def _warn_damaged(path: Path, error: Exception) -> None:
    _logger.warning("Checkpoint %s is damaged (%s); trying another.", path, first_line(error))


def _none_whole(directory: Path) -> str:
    return (
        f"none of the checkpoints in {directory} can be read; nothing was overwritten. Restore "
        "them from a copy, or start again in another --workdir."
    )
