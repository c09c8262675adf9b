"""The whole report of a run."""

from collections.abc import Callable, Iterator
from pathlib import Path

from nlf_jax.report.curves import learning_section
from nlf_jax.report.html import joined, paragraph
from nlf_jax.report.page import Section, render
from nlf_jax.report.positions import positions_section
from nlf_jax.report.samples import (
    interpolation_section,
    reconstructions_section,
    samples_section,
)
from nlf_jax.report.scores import scores_section
from nlf_jax.report.sentence import example, next_section
from nlf_jax.report.settings import facts, settings_section
from nlf_jax.report.spelling import spelling_section
from nlf_jax.report.subject import Subject
from nlf_jax.report.timing import timing_section


def build(
    subject: Subject, say: Callable[[str], None] = lambda _: None
) -> tuple[str, list[Section]]:
    """The report as one HTML file, and the sections that it was made of.

    Args:
        say: is told of every part before it is made; some take a while.
    """
    sections = list(_sections(subject, say))
    name = subject.workdir.resolve().name
    head = joined([paragraph(_lead(subject), class_="lead"), facts(subject)])
    return render(
        f"{subject.description['data'].get('name', 'Run')}: {name}", head, sections
    ), sections


def save_figures(sections: list[Section], directory: Path) -> list[Path]:
    """Writes every figure of the sections as PNG and SVG."""
    figures = [figure for section in sections for figure in section.figures]
    return [path for figure in figures for path in figure.save(directory)]


def _sections(subject: Subject, say: Callable[[str], None]) -> Iterator[Section]:
    say("scores and learning curves")
    yield scores_section(subject)
    yield learning_section(subject)
    say("samples")
    yield samples_section(subject)
    say("cost by position, reconstructions and an interpolation")
    yield positions_section(subject)
    yield reconstructions_section(subject)
    yield interpolation_section(subject)
    say("what comes next in a sequence, and the prior")
    x, source = example(subject)
    yield next_section(subject, x, source)
    yield spelling_section(subject, x)
    say("time to generate")
    yield timing_section(subject)
    yield settings_section(subject)


def _lead(subject: Subject) -> str:
    kind = "latent flow" if subject.has_latent else "language model"
    what = "text" if subject.is_text else "polyphonic music"
    return f"Report of a {kind} of {what}, experiment {subject.description['experiment']}."
