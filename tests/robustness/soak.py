"""Thousands of steps and samples in one process: memory stays flat, nothing compiles again."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from nlf_jax.cli import options
from nlf_jax.data.text.corpora import load_text_file
from nlf_jax.sampling import sample
from nlf_jax.training.loop import Trainer
from tests.robustness.victims import Victims

NUM_SAMPLE_CALLS, EVERY = 500, 100
LENGTHS = (3, 5, 8, 13, None)
# The heap's jitter, far below a leak of one small batch at every step.
ALLOWED_GROWTH_MB = 30


class SoakFailure(Exception):
    """Memory grew, or programs were compiled again."""


def soak(directory: Path, model: str, num_steps: int) -> dict[str, Any]:
    """Trains and samples for long.

    Returns:
        Steps, calls, compilations before and after the first half, resident MB along the way.

    Raises:
        SoakFailure: a compilation in the second half, or growth of memory in it.
    """
    with _compilations() as compiled:
        trainer, training = _train(directory, model, num_steps, compiled)
        _require_flat("training", training)
        sampling = _sample(trainer, compiled)
        _require_flat("sampling", sampling)
    return {"steps": trainer.step, "sample_calls": NUM_SAMPLE_CALLS} | {
        f"{name}_{part}": [row[index] for row in rows]
        for name, rows in (("training", training), ("sampling", sampling))
        for index, part in enumerate(("compilations", "resident_mb"))
    }


def _train(directory: Path, model: str, num_steps: int, compiled: list[str]):
    changes: dict[str, Any] = {"buckets": (8,), "num_epochs": num_steps, "checkpoint_every": 50}
    config = options.get_config("text", model, "tiny", **changes, schedule="cosine")
    workdir = directory / "soak"
    workdir.mkdir()
    corpus = load_text_file(Victims(directory).text_file, config.max_length)
    trainer = Trainer(config, corpus, workdir)
    rows = []

    def should_stop() -> bool:
        if trainer.step == len(rows) * EVERY:
            rows.append((len(compiled), _resident_mb()))
        return trainer.step >= num_steps

    trainer.run(should_stop)
    return trainer, rows


def _sample(trainer: Trainer, compiled: list[str]) -> list[tuple[int, float]]:
    rows = []
    for call in range(NUM_SAMPLE_CALLS):
        length = LENGTHS[call % len(LENGTHS)]
        key = jax.random.key(call)
        jax.block_until_ready(sample(trainer.state.model, key, num_samples=4, length=length))
        if call % (EVERY // 2) == EVERY // 2 - 1:
            rows.append((len(compiled), _resident_mb()))
    return rows


def _require_flat(name: str, rows: list[tuple[int, float]]) -> None:
    second_half = rows[len(rows) // 2 :]
    compilations, memory = ([row[index] for row in second_half] for index in (0, 1))
    if compilations[-1] != compilations[0]:
        raise SoakFailure(f"{name} compiled again: {compilations}")
    if memory[-1] - memory[0] > ALLOWED_GROWTH_MB:
        raise SoakFailure(f"memory grew in {name}: {memory} MB")


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * resource.getpagesize() / 2**20, 1)


@contextmanager
def _compilations() -> Iterator[list[str]]:
    """Names of the functions compiled inside."""
    names: list[str] = []

    def note(event: str, duration_secs: float, **details: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(str(details.get("fun_name")))

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(note)
