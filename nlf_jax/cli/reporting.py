"""``nlf report``: what a run learned, as one HTML file."""

from pathlib import Path
from typing import Any

import numpy as np

from nlf_jax.cli.flags import scoring_config
from nlf_jax.cli.run import Run, require_same_data
from nlf_jax.errors import UserError
from nlf_jax.files import expanded, write_atomically
from nlf_jax.models import SequenceModel
from nlf_jax.report.build import build, save_figures
from nlf_jax.report.subject import Subject
from nlf_jax.training.config import TrainConfig
from nlf_jax.training.hosts import primary_only
from nlf_jax.training.key_streams import Stream, stream_key
from nlf_jax.training.workdir import Description

FILE_NAME, SUFFIX = "report.html", ".html"


def write_report(run: Run) -> None:
    """``--mode=report``: writes the report, and its figures as files if that is asked for."""
    flags = run.line.values
    output = expanded("--output", flags["output"] or run.workdir / FILE_NAME)
    if output.suffix != SUFFIX:
        raise UserError(f"--output is {output}: give a name that ends in {SUFFIX}.")
    figures = expanded("--figures", flags["figures"]) if flags["figures"] else None
    description, model, steps = run.load_trained()
    config = scoring_config(description, run.line)
    rows, rows_are = _rows(run, config, description)
    seed = config.seed if flags["seed"] is None else flags["seed"]
    key = stream_key(seed, Stream.GENERATION)
    text = _text(model, flags)
    subject = Subject(run.workdir, description, config, model, steps, rows, rows_are, key, text)
    _write(subject, output, figures)


@primary_only
def _write(subject: Subject, output: Path, figures: Path | None) -> None:
    say = lambda what: print(f"Making {what} ...", flush=True)  # noqa: E731
    page, sections = build(subject, say)
    _make_folder(output.parent)
    write_atomically(output, page)
    print(f"Written to {output} ({len(page.encode()) / 1e6:.1f} MB)")
    if figures:
        paths = save_figures(sections, figures)
        print(f"{len(paths)} figures written to {figures}")


def _make_folder(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make {directory}: {error.strerror}.") from error


def _rows(run: Run, config: TrainConfig, description: Description) -> tuple[list[np.ndarray], str]:
    """Sequences of the split and what they are; none, and why, if the data are not at hand."""
    split = run.line.values["split"]
    try:
        corpus = run.load_corpus(config, description)
        require_same_data(run.model_source, description, corpus)
    except UserError as error:
        return [], f"the data are not at hand: {error}"
    name = {"train": "training", "valid": "validation", "test": "test"}[split]
    rows = corpus.splits[split]
    kind = "lines" if config.is_text else "pieces"
    return rows, f"{name} {kind}" if rows else f"there are no {name} {kind}"


def _text(model: SequenceModel, flags: dict[str, Any]) -> np.ndarray | None:
    """The ids of --text, if it is given."""
    if not flags["text"]:
        return None
    if len(flags["text"]) > 1:
        raise UserError("--text is given twice or more: a report is of one text.")
    if model.vocabulary is None:
        raise UserError("--text does not suit this model, which has no vocabulary.")
    ids = model.vocabulary.encode(flags["text"][0], flags["unseen"])
    longest = model.max_length
    if not 1 <= len(ids) <= longest:
        raise UserError(f"--text has {len(ids)} symbols, this model takes 1 to {longest}.")
    return ids
