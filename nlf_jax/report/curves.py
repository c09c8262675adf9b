"""Learning curves, from the run's metrics.jsonl."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nlf_jax.errors import UserError
from nlf_jax.files import read_rows
from nlf_jax.report.figures import BLUE, GREEN, ORANGE, Figure, Panel, direct_label, titled
from nlf_jax.report.html import element, paragraph
from nlf_jax.report.page import Section, left_out
from nlf_jax.report.subject import Subject
from nlf_jax.training.metrics import FILE_NAME
from nlf_jax.training.units import BITS

TITLE = "Learning"
_MAX_POINTS = 300
Curve = tuple[np.ndarray, np.ndarray]


def learning_section(subject: Subject) -> Section:
    """The bound against steps, and for a latent flow its two parts."""
    try:
        rows = read_rows(subject.workdir / FILE_NAME)
    except FileNotFoundError:
        return left_out(TITLE, f"the workdir has no {FILE_NAME}")
    except UserError as error:
        return left_out(TITLE, str(error))
    key = subject.unit.key
    curves = {split: curve(rows, split, key) for split in ("train", "valid")}
    if subject.unit is not BITS and not len(curves["train"][0]):
        # Runs of the first format have bits for music too.
        curves = {split: _scaled(curve(rows, split, BITS.key), math.log(2)) for split in curves}
    curves = {split: each for split, each in curves.items() if len(each[0])}
    if not curves:
        return left_out(TITLE, f"{FILE_NAME} has no rows that can be read")
    figures = (_bound(subject, curves, _minutes(rows)), *_parts(subject, rows))
    shown = element("div", *(figure.html() for figure in figures), class_="figures")
    return Section(TITLE, element("div", paragraph(_words(subject, curves)), shown), figures)


def curve(rows: Sequence[Mapping[str, Any]], split: str, name: str) -> Curve:
    """Steps and values of a metric, as far as they are numbers; long ones as means of windows."""
    rows = [row for row in rows if row.get("split") == split]
    rows = [row for row in rows if _is_number(row.get("step")) and _is_number(row.get(name))]
    pairs = sorted((row["step"], row[name]) for row in _of_full_windows(rows) if row["step"] >= 0)
    points = np.array(pairs, np.float64).reshape(-1, 2)
    windows = np.array_split(points, min(len(points), _MAX_POINTS)) if len(points) else []
    means = np.array([window.mean(0) for window in windows]).reshape(-1, 2)
    return means[:, 0], means[:, 1]


def _of_full_windows(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Without those of a few steps alone, as before a stop, which stray far."""
    sizes = [row["tokens"] if _is_number(row.get("tokens")) else 0 for row in rows]
    least = 0.5 * float(np.median(sizes)) if sizes else 0.0
    return [row for row, size in zip(rows, sizes, strict=True) if size >= least]


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) < 1e30


def _scaled(points: Curve, factor: float) -> Curve:
    return points[0], factor * points[1]


def _minutes(rows: Sequence[Mapping[str, Any]]) -> str:
    seconds = [row["seconds"] for row in rows if _is_number(row.get("seconds"))]
    return f", {max(seconds) / 60:,.0f} minutes" if seconds else ""


def _words(subject: Subject, curves: Mapping[str, Curve]) -> str:
    steps, values = curves.get("valid", curves["train"])
    split = "validation" if "valid" in curves else "training"
    best = int(np.argmin(values))
    return (
        f"The lowest {split} value is {values[best]:.3f} {subject.unit_name}, at step "
        f"{steps[best]:,.0f}."
    )


def _bound(subject: Subject, curves: Mapping[str, Curve], minutes: str) -> Figure:
    names = {"train": ("training", BLUE), "valid": ("validation", ORANGE)}
    last = max(steps[-1] for steps, _ in curves.values())
    ends = ", ".join(f"{names[s][0]} ends at {c[1][-1]:.3f}" for s, c in curves.items())
    what = "NLL" if not subject.has_latent else "Minus ELBO"

    def draw(figure: Any) -> None:
        axes = figure.add_subplot(xlabel="steps")
        for split, (steps, values) in curves.items():
            axes.plot(steps, values, color=names[split][1], marker="o" if len(steps) == 1 else None)
        label_ends(axes, [(*names[s], *c) for s, c in curves.items()])
        axes.set_ylim(*_limits(curves))
        axes.set_xlim(0, max(last, 1))
        _thousands(axes)
        title = f"{what}, {subject.unit_name}"
        titled(figure, f"{title}\n{subject.config.model}, {last:,.0f} steps{minutes}")

    alt = f"Learning curves, {what} in {subject.unit_name} over {last:,.0f} steps: {ends}."
    caption = "Training: with dropout. Validation: at KL weight 1." if subject.has_latent else (
        "Training: with dropout, if the recipe has it."
    )  # fmt: skip
    return Figure("learning", caption, (Panel(draw, alt),))


def _parts(subject: Subject, rows: Sequence[Mapping[str, Any]]) -> tuple[Figure, ...]:
    if not subject.has_latent:
        return ()
    scale = subject.unit.per_nat
    kl, reconstruction = (_scaled(curve(rows, "train", n), scale) for n in ("kl", "recon"))
    if not len(kl[0]) or not len(reconstruction[0]):
        return ()

    def draw(figure: Any) -> None:
        axes = figure.add_subplot(xlabel="steps")
        axes.plot(*kl, color=BLUE)
        axes.plot(*reconstruction, color=GREEN)
        label_ends(axes, [("KL", BLUE, *kl), ("reconstruction", GREEN, *reconstruction)])
        top = _limits({"kl": kl, "reconstruction": reconstruction})[1]
        axes.set_ylim(0, top)
        axes.set_xlim(0, max(kl[0][-1], 1))
        _thousands(axes)
        budget = f"{subject.config.model}, {kl[0][-1]:,.0f} steps"
        titled(figure, f"Parts of minus ELBO, {subject.unit_name}\ntraining, {budget}")

    alt = (
        f"Parts of minus ELBO in training: KL ends at {kl[1][-1]:.3f}, reconstruction at "
        f"{reconstruction[1][-1]:.3f} {subject.unit_name}."
    )
    caption = "What the latents cost (KL) and what they leave open (reconstruction)."
    return (Figure("learning-parts", caption, (Panel(draw, alt),)),)


def _limits(curves: Mapping[str, Curve]) -> tuple[float, float]:
    """For the later part of the run: at first, above all without the KL term, it is far higher."""
    late = np.concatenate([v[steps >= 0.3 * steps[-1]] for steps, v in curves.values()])
    low, high = late.min(), np.quantile(late, 0.98)
    margin = max(0.06 * (high - low), 0.01)
    return low - margin, high + 10 * margin


def label_ends(axes: Any, lines: Sequence[tuple[str, str, np.ndarray, np.ndarray]]) -> None:
    """Names right of the ends, moved apart where these are close."""
    figure_height = 0.09
    ends = sorted(lines, key=lambda line: line[3][-1])
    low, high = _limits({name: (x, y) for name, _, x, y in lines})
    place = -math.inf
    for name, colour, x, y in ends:
        place = max(y[-1], place + figure_height * (high - low))
        direct_label(axes, x[-1], place, name, colour)


def _thousands(axes: Any) -> None:
    axes.xaxis.set_major_locator(_locator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def _locator() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(4, integer=True)
