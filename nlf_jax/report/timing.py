"""How long drawing takes, against length."""

import time
from functools import partial
from typing import Any

import jax
import numpy as np

from nlf_jax.report.figures import BLUE, Figure, Panel, titled
from nlf_jax.report.html import joined, paragraph, table
from nlf_jax.report.page import Section
from nlf_jax.report.sequential_steps import sequential_steps
from nlf_jax.report.subject import Subject
from nlf_jax.sampling import sample

TITLE = "Time to generate"
_REPEATS, _LONGEST, _NUM_LENGTHS = 3, 256, 4


def timing_section(subject: Subject) -> Section:
    """Measures now: the fastest of a few draws of one sequence at several lengths."""
    longest = min(subject.max_length, _LONGEST)
    lengths = sorted({max(1, longest >> n) for n in range(_NUM_LENGTHS)})
    seconds = [_seconds(subject, length) for length in lengths]
    kind = jax.devices()[0].device_kind
    device = "CPU" if kind == "cpu" else kind
    steps = [_rounds(subject, length) for length in lengths]
    figure = _figure(subject, lengths, seconds, steps, device)
    words = (
        f"One sequence at a time on {device}, measured while this report was made: the fastest of "
        f"{_REPEATS} draws after one that compiles. Other work on the machine shows in it."
    )
    rows = [(n, f"{1000 * s:,.1f}", k) for n, s, k in zip(lengths, seconds, steps, strict=True)]
    head = [subject.step_name, "milliseconds", "sequential steps"]
    numbers = table(
        head,
        rows,
        "Time of a sequence, and the longest chain of rounds of loops, which wait for each other",
    )
    return Section(TITLE, joined([paragraph(words), figure.html(), numbers]), (figure,))


def _rounds(subject: Subject, length: int) -> int:
    """At least 1: what has no loop is one pass over all steps."""
    return max(1, sequential_steps(partial(sample, length=length), subject.model, subject.key))


def _seconds(subject: Subject, length: int) -> float:
    def draw() -> float:
        start = time.perf_counter()
        jax.block_until_ready(sample(subject.model, subject.key, length=length))
        return time.perf_counter() - start

    draw()
    return min(draw() for _ in range(_REPEATS))


def _figure(
    subject: Subject, lengths: list[int], seconds: list[float], steps: list[int], device: str
) -> Figure:
    milliseconds = 1000 * np.array(seconds)

    def draw(figure: Any) -> None:
        axes = figure.add_subplot(xlabel=f"length, {subject.step_name}")
        axes.loglog(lengths, milliseconds, "o-", color=BLUE)
        for length, value, count in zip(lengths, milliseconds, steps, strict=True):
            axes.annotate(
                f"{count} step{'s' * (count > 1)}", (length, value), (5, -3), va="top",
                textcoords="offset points",
            )  # fmt: skip
        axes.set_xticks(lengths, lengths)
        axes.minorticks_off()
        axes.yaxis.set_major_locator(_ones_twos_and_fives())
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_ylim(milliseconds.min() / 1.6, milliseconds.max() * 1.3)
        titled(figure, f"Milliseconds to draw a sequence\n{subject.config.model}, {device}")

    pairs = zip(lengths, milliseconds, strict=True)
    listed = ", ".join(f"{value:.1f} ms for {length}" for length, value in pairs)
    alt = f"Time to draw a sequence against its length in {subject.step_name}: {listed}."
    caption = "Beside each point: the rounds of loops that have to wait for each other."
    return Figure("time", caption, (Panel(draw, alt),))


def _ones_twos_and_fives() -> Any:
    from matplotlib.ticker import LogLocator

    return LogLocator(subs=(1, 2, 5))
