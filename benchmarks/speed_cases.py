"""The benchmark's cells: what is measured, and what the authors' code takes for it."""

import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import Program
from nlf_jax.cli.options import get_config
from nlf_jax.models import ModelConfig, SequenceModel, create_network
from nlf_jax.objectives import importance_weighted_nll
from nlf_jax.sampling import sample
from nlf_jax.training.state import Updates, create_state, make_train_step

FLOWS = ("af_af", "af_scf", "iaf_scf")
MODELS = (*FLOWS, "lstm")
SIZES = {
    "paper": {},
    "small": {"embedding": 128, "hidden": 128, "latent": 16},
    "tiny": {"embedding": 8, "hidden": 8, "latent": 4, "flow_layers": 2, "flow_hidden": 8},
}
# Changes of a model: the gated recurrence, and with it a likelihood that no loop over steps needs.
GATED: tuple[tuple[str, Any], ...] = (("recurrence", "gated"),)
PARALLEL = (*GATED, ("posterior", "factorised"))
# Symbols with padding and unknown, and the longest sequence that the model is made for.
SHAPES = {"ptb": (51, 288), "jsb": (89, 200)}


@dataclasses.dataclass(frozen=True)
class Case:
    """One cell of the table.

    Attributes:
        part: what it belongs to; names the cell together with the rest.
        task: "train", "nll" or "generate".
        data: "ptb" or "jsb": shapes only, the content is random.
        published: seconds that the authors' code took on two cores, medians with 20% noise.
        latent: D, where it is not the size's own.
        changes: other options of the model, for instance its recurrence.
    """

    part: str
    task: str
    model: str
    size: str
    data: str = "ptb"
    batch: int = 15
    steps: int = 128
    samples: int = 1
    published: float | None = None
    latent: int | None = None
    changes: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """For instance "train/paper/af_scf/ptb-B15-T128-S1"."""
        more = [f"D{self.latent}"] if self.latent else []
        more += [str(value) for _, value in self.changes]
        shape = "-".join([f"{self.data}-B{self.batch}-T{self.steps}-S{self.samples}", *more])
        return f"{self.part}/{self.size}/{self.model}/{shape}"

    def config(self) -> ModelConfig:
        """The network's: the paper's settings at the size asked for."""
        changes: dict[str, Any] = SIZES[self.size] | (
            {"latent": self.latent} if self.latent else {}
        )
        changes |= dict(self.changes)
        changes["emission"] = "bernoulli" if self.data == "jsb" else "categorical"
        return get_config("bench", self.model, "paper", **changes).network

    @property
    def reads_weights(self) -> bool:
        """Its time is mostly that of reading the weights at every step."""
        return self.task == "generate" and self.batch == 1

    def program(self) -> Program:
        """What is measured; each call of a training step goes on from the one before."""
        model, key = make_model(self), jax.random.key(1)
        if self.task == "train":
            optimizer = "sgd" if self.model == "lstm" else "adam"
            updates = Updates(optimizer, 0.25)
            state = create_state(model, updates, key)
            arguments = (state, *make_batch(self), jnp.float32(1e-4), jnp.float32(1.0))
            step = make_train_step(updates, self.samples)
            return Program(step, arguments, lambda result, old: (result[0], *old[1:]))
        if self.task == "nll":
            score = partial(importance_weighted_nll, num_samples=self.samples)
            return Program(jax.jit(score), (model, *make_batch(self), key))
        draw = partial(sample, num_samples=self.batch, length=self.steps)
        return Program(jax.jit(draw), (model, key))


def make_model(case: Case) -> SequenceModel:
    """An untrained model of the case's sizes; all lengths are equally likely."""
    num_symbols, longest = SHAPES[case.data]
    longest = max(longest, case.steps)
    network = create_network(
        case.config(), num_symbols=num_symbols, max_length=longest, key=jax.random.key(0)
    )
    return SequenceModel(network, jnp.full(longest + 1, -np.log(longest + 1.0), jnp.float32))


def make_batch(case: Case) -> tuple[jax.Array, jax.Array]:
    """Random symbols, every sequence being T steps long."""
    rng, shape = np.random.default_rng(0), (case.batch, case.steps)
    if case.data == "jsb":
        x = rng.random((*shape, SHAPES["jsb"][0]), np.float32) < 0.05
    else:
        x = rng.integers(2, SHAPES["ptb"][0], shape, dtype=np.int32)
    return jnp.asarray(x), jnp.full(case.batch, case.steps, jnp.int32)


_B15: dict[str, Any] = {"batch": 15, "steps": 128}
_S10: dict[str, Any] = _B15 | {"samples": 10}
_JSB: dict[str, Any] = {"data": "jsb", "batch": 5, "steps": 64}
_ONE: dict[str, Any] = {"batch": 1, "steps": 256}
_MANY: dict[str, Any] = _ONE | {"batch": 32}
# Task, shape, size, then the authors' seconds for AF/AF, AF/SCF, IAF/SCF and, at times, the LSTM.
_ROWS = (
    ("train", _B15, "paper", (2.34, 2.37, 4.78, 0.42)),
    ("train", _B15, "small", (0.34, 0.37, 1.04, 0.081)),
    ("train", _S10, "paper", (18.4, 17.0, 16.5)),
    ("train", _S10, "small", (2.51, 2.40, 3.34)),
    ("nll", _S10, "paper", (5.0, 4.6, 5.2)),
    ("nll", _S10, "small", (0.84, 0.75, 0.83)),
    ("generate", _ONE, "paper", (38.2, 1.46, 0.114, 1.10)),
    ("generate", _ONE, "small", (9.1, 1.17, 0.021, 0.13)),
    ("generate", _MANY, "paper", (49.3, 3.33, 1.61, 1.99)),
    ("generate", _MANY, "small", (13.8, 1.22, 0.23, 0.23)),
    ("train", _JSB, "paper", (0.46, 0.50, 1.52, 0.078)),
    ("train", _JSB, "small", (0.125, 0.103, 0.635, 0.016)),
)


def table_cases() -> Iterator[Case]:
    """Every cell of the table, paper size and small."""
    for task, shape, size, published in _ROWS:
        for model, seconds in zip(MODELS, published, strict=False):
            yield Case(task, task, model, size, published=seconds, **shape)


def gated_cases() -> Iterator[Case]:
    """Generation with the gated recurrence, and the codebook flow; not in the authors' code."""
    for size in ("paper", "small"):
        for model, changes in (
            ("gated", ()),
            ("af_codebook", ()),
            ("af_codebook", GATED),
            ("af_scf", GATED),
            ("iaf_scf", PARALLEL),
        ):
            yield Case("generate", "generate", model, size, **_ONE, changes=changes)


def sweep_cases() -> Iterator[Case]:
    """How the cost grows: small models, one of T, B, S, D changed at a time."""
    for model in MODELS:
        for steps in (32, 64, 128, 256, 512, 1024):
            yield Case("sweep-generate-T", "generate", model, "small", batch=1, steps=steps)
        for steps in (32, 192, 1024):
            yield Case("sweep-train-T", "train", model, "small", steps=steps)
        for batch in (1, 8, 64):
            yield Case("sweep-train-B", "train", model, "small", batch=batch, steps=64)
    for model in FLOWS:
        for samples in (1, 5, 25):
            yield Case("sweep-train-S", "train", model, "small", samples=samples, steps=64)
        for latent in (4, 16, 64):
            yield Case("sweep-train-D", "train", model, "small", steps=64, latent=latent)
