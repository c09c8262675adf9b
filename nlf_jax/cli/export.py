"""``--mode=export``: a trained model as one file."""

import shlex
from pathlib import Path

import nlf_jax
from nlf_jax.cli.run import Run
from nlf_jax.errors import UserError
from nlf_jax.files import expanded
from nlf_jax.pretrained import SUFFIX
from nlf_jax.training import hosts
from nlf_jax.training.model_file import Loaded, write_model_file

FILE_NAME = f"model{SUFFIX}"


def export_model(run: Run) -> None:
    """Writes the best model of a workdir into a file that does for it, but for its data."""
    if run.model_file is not None:
        raise UserError(f"{run.model_source} is no workdir: it is such a file already.")
    path = expanded("--output", run.line.values["output"] or run.workdir / FILE_NAME)
    if path.suffix != SUFFIX:
        raise UserError(f"--output is {path}: give a name that ends in {SUFFIX}.")
    _write(path, Loaded(*run.load_trained()))


@hosts.primary_only
def _write(path: Path, loaded: Loaded) -> None:
    write_model_file(path, loaded, nlf_jax.__version__)
    print(f"Written to {path}: {path.stat().st_size:,} bytes, after {loaded.steps:,} steps.")
    print(f"Use it like a workdir: nlf sample {shlex.quote(str(path))}")
