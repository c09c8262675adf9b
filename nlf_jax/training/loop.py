"""The training loop: steps, validation, checkpoints and stopping at any moment.

A run is a function of its config and data alone: killed anywhere and started again, it goes on
from its newest checkpoint and ends with the same parameters.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from nlf_jax.data import batching, lengths
from nlf_jax.data.corpus import Corpus
from nlf_jax.errors import UserError
from nlf_jax.files import read_rows
from nlf_jax.mesh import make_mesh, replicate, shard_rows
from nlf_jax.models import SequenceModel, create_network
from nlf_jax.training import evaluate, schedules
from nlf_jax.training.config import TrainConfig
from nlf_jax.training.hosts import agreed, broadcast, on_primary
from nlf_jax.training.key_streams import Stream, stream_key
from nlf_jax.training.metrics import FILE_NAME, FetchedStep, StepInfo, Window, summarise
from nlf_jax.training.progress import HostState
from nlf_jax.training.record import Record
from nlf_jax.training.state import (
    TrainState,
    Updates,
    create_state,
    init_optimizer,
    make_optimizer,
    make_train_step,
    make_use_of_rest,
)
from nlf_jax.training.units import unit_of

MAX_SKIPPED_IN_A_ROW = 10


class Trainer:
    """A training run in a workdir that the caller has locked and claimed.

    Of several processes, each has a trainer of the same run; process 0's alone uses the workdir.

    Args:
        config: of the run.
        corpus: its "train" and "valid" splits are used.
        workdir: where checkpoints and metrics go; a run found there is gone on with.
        mesh: devices that share each batch; None for all.
        show_progress: on the terminal.

    Attributes:
        step: of training, so far.
        is_over: whether the run was complete, validation included, when it was found.

    Raises:
        UserError: as ``CheckpointStore``, or the data don't fit the config.
    """

    def __init__(
        self,
        config: TrainConfig,
        corpus: Corpus,
        workdir: Path,
        mesh: Mesh | None = None,
        *,
        show_progress: bool = True,
    ):
        self._config, self._corpus, self._unit = config, corpus, unit_of(config)
        self._buckets = buckets = config.bucket_lengths(corpus.max_length)
        train, batch_size = corpus.splits["train"], config.batch_size
        self._steps_per_epoch = batching.steps_per_epoch(
            train, batch_size=batch_size, buckets=buckets
        )
        self.num_steps = self._steps_per_epoch * config.num_epochs
        order = {"seed": config.seed, "transpose": config.transpose}
        self._batches = batching.train_batches(
            train, batch_size=batch_size, buckets=buckets, **order
        )
        self._updates = Updates(**{name: getattr(config, name) for name in Updates._fields})
        self._mesh = mesh or make_mesh()
        self._train_step = make_train_step(self._updates, config.elbo_samples, self._mesh)
        several = self._updates.accumulate > 1
        self._use_rest = make_use_of_rest(self._updates, self._mesh) if several else None
        self.host = HostState(schedules.Plateau(config.learning_rate))
        self.state = replicate(broadcast(self._create_state()), self._mesh)
        self.step = 0
        self._record = Record(workdir, self._unit, show_progress)
        try:
            self._resume()
            self.is_over = self._is_over(workdir / FILE_NAME)
            if not self.is_over:
                self._record.start(self.num_steps, self.step, self.host)
        except BaseException:
            self._record.close()
            raise
        self._window = Window(config.log_every)
        self._clock = time.monotonic() - self.host.seconds
        self._last_fetch = time.monotonic()

    @property
    def num_parameters(self) -> int:
        """Trained numbers."""
        return evaluate.num_parameters(self.state.model)

    def run(self, should_stop: Callable[[], bool] = lambda: False) -> bool:
        """Trains to the end of the last epoch, or until ``should_stop``, and saves.

        Returns:
            Whether the run is complete; one that was so before is left as it is.

        Raises:
            UserError: 10 steps in a row were skipped, or a checkpoint cannot be written.
        """
        if self.is_over:
            self._record.close()
            return True
        try:
            done = self._run(agreed(should_stop))
            self._report(self._window.fetch())
            on_primary(self._finish)
        finally:
            self._record.close()
        return done

    def _run(self, should_stop: Callable[[], bool]) -> bool:
        while not should_stop():
            if self.step == (self.host.epochs + 1) * self._steps_per_epoch:
                self._finish_epoch(should_stop)
            elif self.step >= self.num_steps:
                return True
            else:
                self._take_step()
        return False

    def _take_step(self) -> None:
        batch = next(self._batches)
        epoch = self.step / self._steps_per_epoch
        weight = schedules.kl_weight(epoch, **self._ramp())
        rate = self._learning_rate()
        x, row_lengths = shard_rows(batch.x, batch.lengths, self._mesh)
        self.state, metrics = self._train_step(
            self.state, x, row_lengths, np.float32(rate), np.float32(weight)
        )
        self.step += 1
        if self._use_rest is not None and self.step % self._steps_per_epoch == 0:
            self.state = self._use_rest(self.state, np.float32(rate))
        info = StepInfo(self.step, batch.index, int(epoch), weight, rate)
        self._report(self._window.add(info, metrics))
        self._record.advance()
        if self.step % self._config.checkpoint_every == 0:
            self._save()

    def _finish_epoch(self, should_stop: Callable[[], bool]) -> None:
        """Saves, then validates: stopped in between, the next part validates again."""
        self._report(self._window.fetch())
        self._save()
        epoch = self.host.epochs
        key = jax.random.fold_in(self._key(Stream.VALIDATION), epoch)
        try:
            scores = evaluate.score(
                self.state.model,
                self._corpus.splits["valid"],
                key,
                batch_size=self._config.eval_batch_size,
                buckets=self._buckets,
                elbo_samples=self._config.elbo_samples,
                should_stop=should_stop,
                mesh=self._mesh,
            )
        except evaluate.Interrupted:
            return
        self._take_scores(epoch, scores.summary())
        self._last_fetch = time.monotonic()

    def _take_scores(self, epoch: int, summary: dict[str, float]) -> None:
        """The plateau rule and the choice of the best, once the KL ramp is over."""
        self.host.epochs += 1
        loss = summary["elbo_nats"]
        if schedules.ramp_is_over(epoch, **self._ramp()):
            self._update_plateau(loss)
        unit = self._unit
        row: dict[str, Any] = {"split": "valid", "step": self.step, "epoch": epoch}
        row |= {unit.key: summary[f"elbo_{unit.name}"], "kl": summary["kl_nats"]}
        row |= {"recon": summary["reconstruction_nats"], "seconds": self._seconds()}
        best = "  (best so far)" if self.host.best_step == self.step else ""
        kl = summary[f"kl_{unit.name}"]
        scores = f"validation -ELBO {row[unit.key]:.3f} {unit.name} {unit.per}, KL {kl:.3f}"
        self._record.write_validation(row, f"epoch {epoch} done: {scores}{best}")

    def _update_plateau(self, loss: float) -> None:
        before = self.host.plateau
        after = schedules.update_plateau(
            before,
            loss,
            patience=self._config.patience,
            floor=self._config.learning_rate * schedules.PLATEAU_FLOOR,
        )
        self.host.plateau = after
        if after.best_loss < before.best_loss:
            self.host.best_step = self.step
            self._record.write_best(self.step, loss)
        if after.learning_rate < before.learning_rate and self._config.schedule == "plateau":
            fresh = init_optimizer(make_optimizer(self._updates), self.state.model.network)
            self.state = self.state.replace(opt_state=replicate(fresh, self._mesh))

    def _report(self, steps: list[FetchedStep]) -> None:
        """Writes and shows a window's metrics; stops the run if too many steps were skipped."""
        if not steps:
            return
        row = summarise(steps, self._unit) | {"seconds": self._seconds()}
        now = time.monotonic()
        rate = row["tokens"] / max(now - self._last_fetch, 1e-9)
        self._last_fetch = now
        self._record.write_training(row, rate)
        worst = next((s for s in steps if s.metrics.skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW), None)
        if worst is not None:
            self._give_up(worst.info)

    def _give_up(self, info: StepInfo) -> None:
        on_primary(self._finish)
        rows = ", ".join(str(row) for row in info.rows if row >= 0)
        raise UserError(
            f"the loss or its gradient was not finite in {MAX_SKIPPED_IN_A_ROW} steps in a row, up "
            f"to step {info.step} (training rows {rows}). The last good parameters are saved; try "
            "another --workdir with a lower --config.learning_rate."
        )

    def _save(self) -> None:
        self.host.seconds = self._seconds()
        meta = {"host": self.host.to_json(), "data": self._batches.get_state()}
        self._record.save(self.step, self.state, meta)

    def _finish(self) -> None:
        self._save()
        self._record.wait()

    def _resume(self) -> None:
        restored = self._record.restore(self.state)
        if restored is None:
            return
        self.step, self.state = restored.step, replicate(restored.state, self._mesh)
        self.host = HostState.from_json(restored.meta["host"])
        self._batches.set_state(restored.meta["data"])

    def _is_over(self, metrics: Path) -> bool:
        """Whether the last epoch was validated, of which the checkpoint before knows nothing.

        Its row in the metrics is written after all else.
        """
        last = {"split": "valid", "epoch": self._config.num_epochs - 1}

        def has_row() -> bool:
            rows = read_rows(metrics) if metrics.exists() else []
            return any(last.items() <= row.items() for row in rows)

        return self.step >= self.num_steps and on_primary(has_row)

    def _create_state(self) -> TrainState:
        network = create_network(
            self._config.network,
            num_symbols=self._corpus.num_symbols,
            max_length=self._corpus.max_length,
            key=self._key(Stream.PARAMETERS),
        )
        model = SequenceModel(
            network=network,
            length_log_prob=jax.numpy.asarray(self._length_prior()),
            vocabulary=self._corpus.vocabulary,
        )
        return create_state(model, self._updates, self._key(Stream.STEPS))

    def _length_prior(self) -> np.ndarray:
        splits = self._corpus.splits
        return lengths.length_log_prob(
            np.array([len(sequence) for sequence in splits["train"] + splits["valid"]]),
            self._corpus.max_length,
            self._config.length_smoothing,
        )

    def _key(self, stream: Stream) -> jax.Array:
        return stream_key(self._config.seed, stream)

    def _ramp(self) -> dict[str, float]:
        config = self._config
        return {"zero_epochs": config.kl_zero_epochs, "ramp_epochs": config.kl_ramp_epochs}

    def _learning_rate(self) -> float:
        if self._config.schedule == "plateau":
            return self.host.plateau.learning_rate
        return schedules.cosine_learning_rate(
            self.step, num_steps=self.num_steps, peak=self._config.learning_rate
        )

    def _seconds(self) -> float:
        return time.monotonic() - self._clock
