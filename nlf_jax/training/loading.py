"""Where a trained model comes from: a workdir, a file, or the package itself."""

import os
from pathlib import Path

from nlf_jax import pretrained
from nlf_jax.errors import UserError
from nlf_jax.models import SequenceModel
from nlf_jax.training import workdir as workdirs
from nlf_jax.training.checkpoints import load_with_step
from nlf_jax.training.model_file import Loaded, read_file_description, read_model_file
from nlf_jax.training.workdir import Description


def load(source: str | os.PathLike) -> SequenceModel:
    """A trained model: the best by validation of a workdir, or that in a file.

    Needs neither the data nor the training state.

    Args:
        source: a directory that a training run wrote, a file ``.safetensors`` that ``nlf export``
            wrote, or ``pretrained:<name>`` for a model that comes with the package.

    Returns:
        A pytree with ``network``, ``length_log_prob`` and ``vocabulary``.

    Raises:
        UserError: there is no model, no checkpoint of it is whole, or one cannot be read now.

    Examples:
        >>> import nlf_jax
        >>> model = nlf_jax.load("pretrained:king_james")
        >>> model.network.config.model
        'af_codebook'
    """
    return load_described(source).model


def load_described(source: str | os.PathLike) -> Loaded:
    """As ``load``, with the description of the run and its training steps."""
    file = model_file_of(source)
    if file is not None:
        return read_model_file(file)
    workdir = _path(source)
    model, steps = load_with_step(workdir)
    return Loaded(workdirs.read_description(workdir), model, steps)


def read_description(source: str | os.PathLike) -> Description:
    """The description of the run that a model is of; its arrays are not read.

    Raises:
        UserError: as ``load``.
    """
    file = model_file_of(source)
    if file is not None:
        return read_file_description(file)
    return workdirs.read_description(_path(source))


def model_file_of(source: str | os.PathLike) -> Path | None:
    """The file that is meant; None for a workdir, whether it is there or not.

    Raises:
        UserError: there is no pretrained model of this name, or it cannot be looked for.
    """
    if isinstance(source, str) and source.startswith(pretrained.PREFIX):
        return pretrained.path_of(source.removeprefix(pretrained.PREFIX))
    path = _path(source)
    try:
        is_file = not path.is_dir() and (path.exists() or path.suffix == pretrained.SUFFIX)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}.") from error
    return path if is_file else None


def _path(source: str | os.PathLike) -> Path:
    try:
        return Path(source).expanduser()
    except (TypeError, RuntimeError) as error:
        raise UserError(
            f"the model's source is {source!r}: give a workdir, a file {pretrained.SUFFIX} or "
            f"{pretrained.PREFIX}<name>."
        ) from error
