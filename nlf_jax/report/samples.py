"""What the model makes: samples, reconstructions and interpolations."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import jax

from nlf_jax.latents import interpolate, num_same, reconstruct
from nlf_jax.report.figures import Figure
from nlf_jax.report.html import Html, element, joined, paragraph
from nlf_jax.report.page import Section, left_out
from nlf_jax.report.rolls import player, roll_panel
from nlf_jax.report.subject import Subject
from nlf_jax.sampling import Samples, decoded, sample

SAMPLES, RECONSTRUCTIONS, INTERPOLATION = "Samples", "Reconstructions", "Interpolation"
TEMPERATURES = (0.5, 0.8, 1.0)
_EACH, _NUM_POINTS = 3, 5
Named = tuple[str, Any]


def samples_section(subject: Subject) -> Section:
    """Samples at several temperatures, all of one length."""
    length, each = subject.shown_length, _EACH if subject.is_text else 2
    parts, shown = [], []
    for temperature in TEMPERATURES:
        drawn = sample(
            subject.model, subject.key, num_samples=each, length=length, temperature=temperature
        )
        names = [f"sample {n} at temperature {temperature:g}" for n in range(1, each + 1)]
        named = list(zip(names, decoded(subject.model, drawn), strict=True))
        parts += [element("h3", f"Temperature {temperature:g}"), show(subject, named, "sample")]
        shown += named
    words = (
        f"Drawn now, {length} {subject.step_name} each, the typical length; none was picked. At "
        "temperature 1 these are draws from the model itself, below it more typical ones; the "
        "random numbers are the same at each temperature."
    )
    return Section(SAMPLES, joined([paragraph(words), *parts]), _figures(subject, shown, "samples"))


def reconstructions_section(subject: Subject) -> Section:
    """Rows of the data, and what encoding and decoding makes of them."""
    if reason := _no_latents(subject):
        return left_out(RECONSTRUCTIONS, reason)
    x, lengths = subject.batch(subject.rows_near(subject.shown_length, _EACH))
    rebuilt = reconstruct(subject.model, x, lengths, subject.key)
    originals, copies = decoded(subject.model, Samples(x, lengths)), decoded(subject.model, rebuilt)
    parts, shown = [], []
    for number, (original, copy) in enumerate(zip(originals, copies, strict=True), 1):
        named = [(f"original {number}", original), (f"reconstruction {number}", copy)]
        parts.append(show(subject, named, f"reconstruction-{number}", original))
        shown += named
    words = f"{subject.rows_are} encoded by the posterior's mean, each decoded to what is likeliest"
    words = f"{words[0].upper()}{words[1:]}: {_share_of_same(x, lengths, rebuilt)}."
    figures = _figures(subject, shown, "reconstructions")
    return Section(RECONSTRUCTIONS, joined([paragraph(words), *parts]), figures)


def interpolation_section(subject: Subject) -> Section:
    """The way between two rows of the data, by their noise."""
    if reason := _no_latents(subject):
        return left_out(INTERPOLATION, reason)
    if len(subject.rows) < 2:
        return left_out(INTERPOLATION, "there is one row of data alone")
    ends = [subject.encoded(row) for row in subject.rows_near(subject.shown_length, 2)]
    points = interpolate(subject.model, *ends, subject.key, num_points=_NUM_POINTS)
    ways = [f"{100 * n // (_NUM_POINTS - 1)}% of the way" for n in range(_NUM_POINTS)]
    named = list(zip(ways, decoded(subject.model, points), strict=True))
    words = (
        "From one sequence to another, both taken back to the noise of the prior: every point "
        "between is as typical as a draw, as far as the model fits the data."
    )
    body = joined([paragraph(words), show(subject, named, "interpolation")])
    return Section(INTERPOLATION, body, _figures(subject, named, "interpolation"))


def show(subject: Subject, named: Sequence[Named], name: str, original: Any = None) -> Html:
    """Texts as a list, rolls with players.

    Args:
        name: of the pictures, with the first's title unlike that of any other.
        original: a text, whose differences from the others are marked.
    """
    if not subject.is_text:
        seconds = subject.frame_seconds
        ids = ["-".join(f"{name} {title}".split()) for title, _ in named]
        players = [player(roll, t, i, seconds) for (t, roll), i in zip(named, ids, strict=True)]
        return element("div", *players, class_="rolls")
    items = [
        element("li", element("small", title), _marked(text, original)) for title, text in named
    ]
    return element("ul", *items, class_="texts")


def _marked(text: str, original: str | None) -> Html:
    """The text with what differs from the original marked."""
    if original is None or len(original) != len(text):
        return joined([text])
    pairs = groupby(zip(text, original, strict=True), key=lambda pair: pair[0] != pair[1])
    runs = [(differs, "".join(a for a, _ in run)) for differs, run in pairs]
    return joined([element("mark", run) if differs else run for differs, run in runs])


def _figures(subject: Subject, named: Sequence[Named], name: str) -> tuple[Figure, ...]:
    """Rolls as a figure for files; texts are none."""
    if subject.is_text:
        return ()
    panels = [roll_panel(roll, title, subject.frame_seconds) for title, roll in named]
    return (Figure(name, "", tuple(panels)),)


def _no_latents(subject: Subject) -> str | None:
    if not subject.has_latent:
        return f"{subject.config.model} is a language model, which has no latent"
    return None if len(subject.rows) else subject.rows_are


def _share_of_same(x: jax.Array, lengths: jax.Array, rebuilt: Samples) -> str:
    return f"{num_same(x, lengths, rebuilt):,} of {int(lengths.sum()):,} steps come back the same"
