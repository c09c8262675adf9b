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

from nlf_jax.cli.flags import DEFAULT_MODEL, CommandLine, Flags, Switch
from nlf_jax.data.corpus import Corpus
from nlf_jax.errors import UserError
from nlf_jax.mesh import make_mesh
from nlf_jax.models import SequenceModel
from nlf_jax.training import hosts
from nlf_jax.training import workdir as workdirs
from nlf_jax.training.config import TrainConfig
from nlf_jax.training.loading import load_described, model_file_of
from nlf_jax.training.template import model_template
from nlf_jax.training.workdir import Description


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A data set and what is special about its runs.

    Attributes:
        name: after ``nlf train``, and of the file in experiments/.
        description: for ``--help``.
        load_corpus: (flags by name, max_length) -> the data.
        model: the one that is trained unless another is asked for.
        flags: the experiment's own flags: texts, with their help, and switches.
        after_training: called when a run is complete, with the run and the data.
        variant: flags by name -> the data's name, for the default workdir.
        frame: flags by name -> how long a frame lasts, as the ``frames_per_quarter`` or the
            ``frame_seconds`` of ``media.midi_to_roll``; None for text.
    """

    name: str
    description: str
    load_corpus: Callable[[dict[str, Any], int], Corpus]
    model: str = DEFAULT_MODEL
    flags: Flags = dataclasses.field(default_factory=dict)
    after_training: Callable[["Run", Corpus], None] | None = None
    variant: Callable[[dict[str, Any]], str] | None = None
    frame: Callable[[dict[str, Any]], dict[str, Any]] | None = None


@dataclasses.dataclass(frozen=True)
class Run:
    """One use of an experiment: the parsed command line and what follows from it."""

    experiment: Experiment
    line: CommandLine

    @property
    def model_file(self) -> Path | None:
        """The file of a model, or one that comes with the package, if given for the workdir."""
        given = self.line.values["workdir"]
        return model_file_of(given) if given else None

    @property
    def model_source(self) -> str:
        """Where the trained model is, as it can be given on a command line."""
        return self.line.values["workdir"] if self.model_file else str(self.workdir)

    @property
    def workdir(self) -> Path:
        """The directory of the run; for the file of a model one of its name, here."""
        values, file = self.line.values, self.model_file
        if file is not None:
            return Path(file.stem)
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
        run = self if trained is None else self.remembering(trained)
        return self.experiment.load_corpus(run.line.values, config.max_length)

    def find(self) -> Description | None:
        """What process 0 finds of a run of this experiment that training can go on with."""

        def read() -> Description | None:
            is_run = os.path.exists(self.workdir / workdirs.CONFIG_FILE)
            if not is_run or not workdirs.step_numbers(self.workdir / workdirs.CHECKPOINTS):
                return None
            found = workdirs.read_description(self.workdir)
            return found if found["experiment"] == self.experiment.name else None

        return hosts.on_primary(read)

    def remembering(self, trained: Description) -> "Run":
        """The run with the flags that gave a trained run's data, where none are given."""
        line, data, source = self.line, trained["data"], trained.get("source", {})
        frame = {} if workdirs.FRAME & line.given else workdirs.FRAME & data.keys()
        known = {name: str(data[name]) for name in frame} | {"dataset": data.get("name")} | source
        for name, each in self.switches.items():
            known[name] = source.get(name, _as_text(each.older)) == _as_text(True)
        # Nothing else, as anyone may have written the source: not the workdir, for one.
        unknown = {"data_dir", *self.experiment.flags} - line.given
        known = {name: value for name, value in known.items() if name in unknown}
        given = line.given | (known.keys() & source.keys())
        return Run(
            self.experiment, dataclasses.replace(line, values=line.values | known, given=given)
        )

    @property
    def switches(self) -> dict[str, Switch]:
        """The experiment's flags that are on or off."""
        return {n: e for n, e in self.experiment.flags.items() if isinstance(e, Switch)}

    @property
    def source(self) -> dict[str, str]:
        """The flags that give the data, paths made absolute; switches whether given or not."""
        values, switches = self.line.values, self.switches
        given = [n for n in ("data_dir", *self.experiment.flags) if n in self.line.given]
        is_path = lambda name: name.endswith(("_dir", "_file"))  # noqa: E731
        source = {n: os.path.abspath(values[n]) if is_path(n) else values[n] for n in given}
        return source | {name: _as_text(values[name]) for name in switches}

    @property
    def frame(self) -> dict[str, Any]:
        """How long a frame lasts, as the flags say; nothing for text."""
        function = self.experiment.frame
        return {} if function is None else function(self.line.values)

    def load_trained(self) -> tuple[Description, SequenceModel, int]:
        """What process 0 finds: the run's description, the model, its training steps."""
        models: list[SequenceModel] = []

        def read() -> tuple[Description, str | None, int]:
            description, model, step = load_described(self.model_source)
            models.append(model)
            vocabulary = model.vocabulary
            return description, None if vocabulary is None else vocabulary.to_json(), step

        description, vocabulary, step = hosts.on_primary(read)
        if description["experiment"] != self.experiment.name:
            raise UserError(
                f"{self.model_source} is of a run of {description['experiment']}, not of "
                f"{self.experiment.name}: `nlf` finds that out by itself."
            )
        if not models:
            names = {"config_in": self.model_source, "vocabulary_in": self.model_source}
            template = model_template(description, vocabulary, **names)
            models.append(jax.tree.map(jnp.zeros_like, template))
        return description, hosts.broadcast(models[0]), step

    def command(self, mode: str) -> str:
        """The shell command that does something else with the same run."""
        directory = shlex.quote(str(self.workdir))
        if "MAKELEVEL" in os.environ:
            return f"make {mode} EXP={self.experiment.name} WORKDIR={directory}"
        return f"nlf {mode} {directory}"


def _as_text(value: bool) -> str:
    """A switch in the source of a description, where every value is text."""
    return str(value).lower()


def require_same_data(model_source: str, trained: Description, corpus: Corpus) -> None:
    """Raises a UserError unless the model was trained on these data."""
    name, expected = trained["data"].get("name"), trained["data"].get("fingerprint")
    if corpus.fingerprint != expected:
        raise UserError(
            f"the data are not those that {model_source} was trained on ({name}, fingerprint "
            f"{expected} there, {corpus.fingerprint} here): give the same data."
        )
