"""What a run is: an experiment, its command line and what follows from them."""

import dataclasses
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from nlf_jax.cli.flags import DEFAULT_MODEL, CommandLine
from nlf_jax.data.corpus import Corpus
from nlf_jax.errors import UserError
from nlf_jax.mesh import make_mesh
from nlf_jax.models import SequenceModel
from nlf_jax.training import checkpoints, hosts
from nlf_jax.training import workdir as workdirs
from nlf_jax.training.config import TrainConfig
from nlf_jax.training.workdir import Description

# Of the seed; training uses the streams before.
EVALUATION_STREAM, GENERATION_STREAM = 3, 4


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A data set and what is special about its runs.

    Attributes:
        name: after ``nlf train``, and of the file in experiments/.
        description: for ``--help``.
        load_corpus: (flags by name, max_length) -> the data.
        model: the one that is trained unless another is asked for.
        flags: the experiment's own flags, all text, with their help.
        after_training: called when a run is complete, with the run and the data.
        variant: flags by name -> the data's name, for the default workdir.
        frame: flags by name -> how long a frame lasts, as the ``frames_per_quarter`` or the
            ``frame_seconds`` of ``media.midi_to_roll``; None for text.
    """

    name: str
    description: str
    load_corpus: Callable[[dict[str, Any], int], Corpus]
    model: str = DEFAULT_MODEL
    flags: dict[str, str] = dataclasses.field(default_factory=dict)
    after_training: Callable[["Run", Corpus], None] | None = None
    variant: Callable[[dict[str, Any]], str] | None = None
    frame: Callable[[dict[str, Any]], dict[str, Any]] | None = None


@dataclasses.dataclass(frozen=True)
class Run:
    """One use of an experiment: the parsed command line and what follows from it."""

    experiment: Experiment
    line: CommandLine

    @property
    def workdir(self) -> Path:
        """The directory of the run."""
        values = self.line.values
        if values["workdir"]:
            return Path(values["workdir"])
        variant = [] if self.experiment.variant is None else [self.experiment.variant(values)]
        name = "-".join([*variant, values["model"], values["size"]])
        return Path("runs", self.experiment.name, name)

    @property
    def mesh(self) -> Mesh:
        """The devices to use."""
        return make_mesh(self.line.values["mesh"])

    def load_corpus(self, config: TrainConfig, trained: Description | None = None) -> Corpus:
        """The experiment's data: those that the flags name, else those of the trained run."""
        values = self.line.values
        if trained is not None:
            data = trained["data"]
            known = {n: str(data[n]) for n in workdirs.FRAME if n in data}
            known |= {"dataset": data.get("name")} | trained.get("source", {})
            known = {name: value for name, value in known.items() if name in values}
            values = values | {n: v for n, v in known.items() if n not in self.line.given}
        return self.experiment.load_corpus(values, config.max_length)

    @property
    def source(self) -> dict[str, str]:
        """The flags given that say where the data are, paths made absolute."""
        given = [n for n in ("data_dir", *self.experiment.flags) if n in self.line.given]
        is_path = lambda name: name.endswith(("_dir", "_file"))  # noqa: E731
        values = self.line.values
        return {n: os.path.abspath(values[n]) if is_path(n) else values[n] for n in given}

    @property
    def frame(self) -> dict[str, Any]:
        """How long a frame lasts, as the flags say; nothing for text."""
        function = self.experiment.frame
        return {} if function is None else function(self.line.values)

    def load_trained(self) -> tuple[Description, SequenceModel, int]:
        """What process 0 finds in the workdir: its description, the model, its training steps."""
        loaded: list[SequenceModel] = []

        def read() -> tuple[Description, str | None, int]:
            description = workdirs.read_description(self.workdir)
            model, step = checkpoints.load_with_step(self.workdir)
            loaded.append(model)
            return description, workdirs.read_vocabulary(self.workdir), step

        description, vocabulary, step = hosts.on_primary(read)
        if description["experiment"] != self.experiment.name:
            raise UserError(
                f"{self.workdir} has a run of {description['experiment']}, not of "
                f"{self.experiment.name}: `nlf` finds that out by itself."
            )
        if not loaded:
            template = checkpoints.model_template(description, vocabulary, self.workdir)
            loaded.append(jax.tree.map(jnp.zeros_like, template))
        return description, hosts.broadcast(loaded[0]), step

    def command(self, mode: str) -> str:
        """The shell command that does something else with the same run."""
        directory = shlex.quote(str(self.workdir))
        if "MAKELEVEL" in os.environ:
            return f"make {mode} EXP={self.experiment.name} WORKDIR={directory}"
        return f"nlf {mode} {directory}"


def stream_key(seed: int, stream: int) -> jax.Array:
    """The random key of a part of a run."""
    return jax.random.fold_in(jax.random.key(seed), stream)


def require_same_data(directory: Path, trained: Description, corpus: Corpus) -> None:
    """Raises a UserError unless the run in the directory was trained on these data."""
    name, expected = trained["data"].get("name"), trained["data"].get("fingerprint")
    if corpus.fingerprint != expected:
        raise UserError(
            f"the data are not those that {directory} was trained on ({name}, fingerprint "
            f"{expected} there, {corpus.fingerprint} here): give the same data."
        )
