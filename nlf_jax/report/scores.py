"""Scores of the run, from its eval_<split>.json, beside published ones."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nlf_jax.data.corpus import SPLITS
from nlf_jax.errors import UserError
from nlf_jax.files import read_json
from nlf_jax.report.figures import BLUE, INK, LINE, MUTED, WIDTH, Figure, Panel, titled
from nlf_jax.report.html import Html, element, joined, paragraph, table
from nlf_jax.report.page import Section, left_out
from nlf_jax.report.published import PAPER, SETTINGS, published_scores
from nlf_jax.report.subject import Subject
from nlf_jax.training.evaluate import weights_digest
from nlf_jax.training.units import BITS

TITLE = "Scores"
_MAX_BYTES = 10**6
_COSTS = {
    "nll": "NLL",
    "elbo": "minus ELBO",
    "reconstruction": "reconstruction",
    "kl": "KL",
    "length": "length term",
    "nll_no_length": "NLL without length term",
}


def read_evaluations(workdir: Path) -> dict[str, dict[str, Any]]:
    """What ``nlf eval`` wrote, by split; files that are none are left out."""
    found = {split: _read(workdir / f"eval_{split}.json") for split in SPLITS}
    return {split: each for split, each in found.items() if each is not None}


def evaluations_of(subject: Subject) -> dict[str, dict[str, Any]]:
    """Those in its workdir that are of its weights; older files tell the steps alone."""
    expected = {"steps": subject.steps, "weights": weights_digest(subject.model)}
    return {
        split: each
        for split, each in read_evaluations(subject.workdir).items()
        if all(each.get(name, value) == value for name, value in expected.items())
    }


def score_of(evaluation: Mapping[str, Any] | None, name: str) -> float | None:
    """A score of an evaluation, if it is there and a number."""
    value = (evaluation or {}).get("scores", {}).get(name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def scores_section(subject: Subject) -> Section:
    """The table of scores, and a figure of published ones if there are such."""
    evaluations = evaluations_of(subject)
    if not evaluations:
        reason = (
            f"the run was not scored yet after {subject.steps:,} steps (nlf eval {subject.workdir})"
        )
        return left_out(TITLE, reason)
    costs = _table(subject, evaluations)
    figures = _comparison(subject, score_of(evaluations.get("test"), f"nll_{subject.unit.name}"))
    shown = [each.html() for each in figures]
    return Section(TITLE, joined([costs, *shown, _command(evaluations)]), figures)


def _table(subject: Subject, evaluations: Mapping[str, Mapping[str, Any]]) -> Html:
    counts = {"sequences": "sequences", "nll_samples": "importance samples"}
    of_latent = {"elbo", "reconstruction", "kl", "nll_samples"}
    shown = lambda name: subject.has_latent or name not in of_latent  # noqa: E731
    rows = [
        [words, *(_with_error(subject, each, cost) for each in evaluations.values())]
        for cost, words in _COSTS.items()
        if shown(cost)
    ]
    rows += [
        [words, *(_figure_of(each.get(key)) for each in evaluations.values())]
        for key, words in counts.items()
        if shown(key)
    ]
    unit = f"{subject.unit_name[0].upper()}{subject.unit_name[1:]}"
    return table(["", *evaluations], rows, f"{unit}, ± one standard error over sequences")


def _command(evaluations: Mapping[str, Mapping[str, Any]]) -> Html:
    commands = [str(each.get("command", "")) for each in evaluations.values()]
    parts = [element("code", each) for each in commands if each]
    return paragraph("Scored by ", *parts, class_="lead") if parts else Html("")


def _with_error(subject: Subject, evaluation: Mapping[str, Any], cost: str) -> str:
    value = score_of(evaluation, f"{cost}_{subject.unit.name}")
    error = score_of(evaluation, f"{cost}_bits_standard_error")
    if value is None:
        return "–"
    if error is None:
        return f"{value:.3f}"
    return f"{value:.3f} ± {error * subject.unit.per_nat / BITS.per_nat:.3f}"


def _figure_of(value: Any) -> str:
    return f"{value:,}" if type(value) is int else "–"


def _comparison(subject: Subject, own: float | None) -> tuple[Figure, ...]:
    published = published_scores(subject.description)
    if not published or own is None:
        return ()
    name = f"this run ({subject.config.model})"
    scores = sorted([*published.items(), (name, own)], key=lambda pair: -pair[1])
    listed = ", ".join(f"{model} {score:.2f}" for model, score in reversed(scores))
    alt = f"Test NLL in {subject.unit_name}, less is better: {listed}."

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for place, (model, score) in enumerate(scores):
            colour = BLUE if model == name else MUTED
            axes.plot(score, place, "o", color=colour, markersize=6)
            axes.hlines(place, 0, score, color=LINE, zorder=0)
            axes.annotate(
                f"{score:.3f}" if model == name else f"{score:.2f}", (score, place), (7, 0),
                textcoords="offset points", va="center", color=colour if model == name else INK,
            )  # fmt: skip
        axes.set_yticks(range(len(scores)), [model for model, _ in scores])
        titled(figure, f"Test NLL, {subject.unit_name}\n{subject.budget}; others as published")
        axes.margins(y=0.12)
        low, high = scores[-1][1], scores[0][1]
        axes.set_xlim(low - 0.15 * (high - low), high + 0.2 * (high - low))
        axes.tick_params(axis="y", length=0)

    height = 0.9 + 0.24 * len(scores)
    caption = f"Less is better. Published figures: {PAPER}; {SETTINGS}."
    return (Figure("scores", caption, (Panel(draw, alt, (WIDTH, height)),)),)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = read_json(path, _MAX_BYTES)
    except (FileNotFoundError, ValueError, UserError):
        return None
    is_evaluation = isinstance(found, dict) and isinstance(found.get("scores"), dict)
    return found if is_evaluation else None
