"""Workdirs that someone has tampered with, and what a command has to say of each."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import tensorstore as ts

from nlf_jax.training.workdir import CHECKPOINTS, CONFIG_FILE, LINKS_VARIABLE, VOCABULARY_FILE
from tests.robustness.victims import newest_step, rows_of

METRICS, BEST = "metrics.jsonl", "best.json"
_GIGABYTES = 8 * 10**9


class Hostile(NamedTuple):
    """A way to tamper with a workdir.

    Attributes:
        harm: does it to the workdir of a finished run.
        says: what the command prints about it.
        code: its exit code.
        flags: of the command, which scores the run unless they say otherwise.
    """

    harm: Callable[[Path], Any]
    says: str
    code: int = 2
    flags: tuple[str, ...] = ("--mode=eval",)


def _config(**values: Any) -> Callable[[Path], None]:
    """Changes values of the config, or else of the data."""

    def change(workdir: Path) -> None:
        path = workdir / CONFIG_FILE
        description = json.loads(path.read_text())
        for name, value in values.items():
            part = "config" if name in description["config"] else "data"
            description[part][name] = value
        path.write_text(json.dumps(description))

    return change


def _content(name: str, content: str) -> Callable[[Path], Any]:
    return lambda workdir: (workdir / name).write_text(content)


def _sparse(name: str) -> Callable[[Path], None]:
    return lambda workdir: os.truncate(workdir / name, _GIGABYTES)


def _fifo(name: str) -> Callable[[Path], None]:
    def replace(workdir: Path) -> None:
        (workdir / name).unlink(missing_ok=True)
        os.mkfifo(workdir / name)

    return replace


def _newest(workdir: Path) -> Path:
    return workdir / CHECKPOINTS / str(newest_step(workdir))


def _claim_terabytes(workdir: Path) -> None:
    """An array of the newest checkpoint, and of the best, claims to have 10^13 numbers."""
    (workdir / BEST).unlink(missing_ok=True)
    spec = {"driver": "ocdbt", "base": f"file://{_newest(workdir)}/model/"}
    store = ts.KvStore.open(spec).result()
    name = next(key for key in store.list().result() if key.endswith(b".zarray"))
    array = json.loads(store.read(name).result().value)
    store.write(name, json.dumps(array | {"shape": [10**13], "chunks": [1]})).result()


def _put_fifo_into_newest(workdir: Path) -> None:
    os.mkfifo(_newest(workdir) / "x")


def _put_elsewhere(workdir: Path) -> None:
    elsewhere = workdir.with_name(f"{workdir.name}_elsewhere")
    (workdir / CHECKPOINTS).rename(elsewhere)
    (workdir / CHECKPOINTS).symlink_to(elsewhere)


def _break_rows(workdir: Path) -> None:
    lines = (workdir / METRICS).read_text().splitlines()
    middle = len(lines) // 2
    lines[middle:middle] = ["5", "{}", '{"split": ', "[" * 10**5]
    (workdir / METRICS).write_text("\n".join(lines) + "\n")


_VALUE, _DAMAGED = "must be at least 1 and less than", "is damaged"
# Of a run that is over no metrics are read.
_TRAIN = ("--mode=train", "--config.num_epochs=11")
WORKDIRS = {
    "a million layers": Hostile(_config(flow_layers=10**6), _VALUE),
    "a hundred thousand layers": Hostile(_config(flow_layers=199, temporal_layers=199), "at most"),
    "a billion units": Hostile(_config(hidden=10**9, embedding=10**9), _VALUE),
    "a billion symbols": Hostile(_config(num_symbols=10**9, embedding=99_999), "describe a model"),
    "a batch of 2^31": Hostile(_config(batch_size=2**31), _VALUE),
    "a batch of 2^31 to train": Hostile(
        lambda workdir: None, _VALUE, flags=(*_TRAIN, "--config.batch_size=2147483648")
    ),
    "a config of gigabytes": Hostile(_sparse(CONFIG_FILE), "the most that it may have"),
    "a nested config": Hostile(_content(CONFIG_FILE, '{"format":' * 10**5), _DAMAGED),
    "a vocabulary of gigabytes": Hostile(_sparse(VOCABULARY_FILE), "the most that it may have"),
    "half a character": Hostile(_content(VOCABULARY_FILE, '{"symbols": ["\\ud800"]}'), "\\ud800"),
    "an escape": Hostile(_content(VOCABULARY_FILE, '{"symbols": ["\\u001b"]}'), "\\x1b"),
    "an infinite best": Hostile(_content(BEST, '{"step": Infinity}'), f"{BEST} {_DAMAGED}", 0),
    "a best that is not there": Hostile(_content(BEST, '{"step": 1}'), "of step 1, is not in", 0),
    "broken rows": Hostile(_break_rows, "4 lines of", 0, _TRAIN),
    "rows of gigabytes": Hostile(_sparse(METRICS), "the most that it may have", flags=_TRAIN),
    "terabytes in a checkpoint": Hostile(_claim_terabytes, "[10000000000000]", 0),
    "a FIFO in a checkpoint": Hostile(_put_fifo_into_newest, "is no file", 0, _TRAIN),
    "a link": Hostile(_put_elsewhere, LINKS_VARIABLE),
} | {
    f"a FIFO for {name}": Hostile(_fifo(name), f"{name} is no file", flags=flags)
    for name, flags in {
        CONFIG_FILE: ("--mode=eval",), VOCABULARY_FILE: ("--mode=eval",), BEST: ("--mode=eval",),
        METRICS: _TRAIN, "lock": _TRAIN,
    }.items()
}  # fmt: skip


def rows_lost(workdir: Path, before: Path) -> int:
    """How many rows of metrics a workdir has less than another."""
    return len(rows_of(before)) - len(rows_of(workdir))
