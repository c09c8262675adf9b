"""What a run leaves in its workdir and shows on the terminal: process 0's work alone."""

from pathlib import Path
from typing import Any

from nlf_jax.errors import UserError
from nlf_jax.training.checkpoints import CheckpointStore, Meta, Restored
from nlf_jax.training.hosts import broadcast, on_primary, primary_only
from nlf_jax.training.metrics import Display, MetricsWriter
from nlf_jax.training.progress import HostState
from nlf_jax.training.state import TrainState
from nlf_jax.training.units import Unit


class Record:
    """Checkpoints, metrics and progress.

    All processes call the methods; where one says nothing of the others, it does nothing there.

    Args:
        workdir: of the run.
        unit: of the ELBO on the terminal.
        show: whether anything is shown.

    Raises:
        UserError: as ``CheckpointStore``, in every process.
    """

    def __init__(self, workdir: Path, unit: Unit, show: bool = True):
        self._workdir, self._unit, self._show = workdir, unit, show
        self._display: Display | None = None
        self._writer: MetricsWriter | None = None
        on_primary(self._open_store)

    def restore(self, state: TrainState) -> Restored | None:
        """The newest whole checkpoint, in every process; None if there is none.

        Args:
            state: of the same structure; its values don't matter.

        Raises:
            UserError: as ``CheckpointStore.restore_newest``, or the checkpoint does not fit
                itself; in every process.
        """

        def read() -> dict[str, Any] | None:
            nonlocal state
            restored = self._store.restore_newest(state)
            if restored is None:
                return None
            _check_position(restored)
            state = restored.state
            return {"step": restored.step, "meta": restored.meta}

        found = on_primary(read)
        return None if found is None else Restored(state=broadcast(state), **found)

    def start(self, num_steps: int, step: int, host: HostState) -> None:
        """Goes on after a step of a run of so many.

        Raises:
            UserError: a file cannot be written; in every process.
        """
        on_primary(lambda: self._open_files(num_steps, step, host))

    @primary_only
    def save(self, step: int, state: TrainState, meta: Meta) -> None:
        """As ``CheckpointStore.save``."""
        self._store.save(step, state, meta)

    @primary_only
    def wait(self) -> None:
        """As ``CheckpointStore.wait``."""
        self._store.wait()

    @primary_only
    def write_best(self, step: int, loss: float) -> None:
        """Notes that a saved step is the best so far."""
        self._store.wait()
        self._store.write_best(step, loss)

    @primary_only
    def write_training(self, row: dict[str, Any], tokens_per_second: float) -> None:
        """Writes and shows metrics of some steps."""
        self._write(row)
        if self._display is not None:
            self._display.show(row, tokens_per_second)

    @primary_only
    def write_validation(self, row: dict[str, Any], text: str) -> None:
        """Writes metrics of a validation and shows a line about it."""
        self._write(row)
        if self._display is not None:
            self._display.say(text)

    @primary_only
    def advance(self) -> None:
        """Shows that a step has been done."""
        if self._display is not None:
            self._display.advance()

    @primary_only
    def close(self) -> None:
        """Lets go of everything; raises nothing."""
        for each in (self._display, self._writer, self._store):
            if each is not None:
                each.close()

    def _write(self, row: dict[str, Any]) -> None:
        if self._writer is not None:
            self._writer.write(row)

    def _open_store(self) -> None:
        self._store = CheckpointStore(self._workdir)

    def _open_files(self, num_steps: int, step: int, host: HostState) -> None:
        if host.best_step is None:
            self._store.forget_best()
        else:
            self._store.write_best(host.best_step, host.plateau.best_loss)
        self._writer = MetricsWriter(self._workdir, step, host.epochs)
        if self._show:
            self._display = Display(num_steps, step, self._unit)


def _check_position(restored: Restored) -> None:
    """Refuses a checkpoint that is whole, but says nothing sensible of how far the run was."""
    try:
        HostState.from_json(restored.meta["host"])
        position = restored.meta["data"]["next_index"]
    except (KeyError, TypeError, ValueError):
        position = None
    if type(position) is not int or position != restored.step:
        raise UserError(
            f"the checkpoint of step {restored.step} does not say how far the run was: restore the "
            "workdir from a copy, or use another one."
        )
