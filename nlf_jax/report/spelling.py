"""Figure: the prior of the latents in two dimensions, while a word is spelled."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from nlf_jax.data.music.piano_roll import NUM_DUMMIES
from nlf_jax.models import CodebookFlow
from nlf_jax.report.density import (
    NUM_DRAWS,
    Mixture,
    is_closed_form,
    main_axes,
    main_directions,
    step_priors,
)
from nlf_jax.report.figures import BLUE, INK, MUTED, ORANGE, PAPER, Figure, Panel
from nlf_jax.report.html import Html, given_the_past, joined, paragraph
from nlf_jax.report.page import Section, left_out
from nlf_jax.report.sentence import key_name
from nlf_jax.report.subject import Subject, visible

TITLE = "The prior while a word is spelled"
MUSIC_TITLE = "The prior from frame to frame"
_NUM_STEPS, _SIZE, _GRID, _LEAST_SHARE = 8, (1.75, 1.95), 90, 0.05
# Width and height of a name, as shares of a panel.
_LABEL = np.array([0.3, 0.09])
_BEHIND = {"facecolor": PAPER, "alpha": 0.75, "linewidth": 0, "boxstyle": "square,pad=0.05"}
_LEVELS = (0.01, 0.03, 0.1, 0.3, 0.6, 1.0)


def spelling_section(subject: Subject, x: np.ndarray) -> Section:
    """A panel for every letter of a word, or for frames that follow each other."""
    title = TITLE if subject.is_text else MUSIC_TITLE
    if not subject.has_latent:
        return left_out(title, f"{subject.config.model} is a language model, which has no latent")
    network: Any = subject.model.network
    if network.latent_size == 1:
        return left_out(title, "the latent has one dimension, and a plane is drawn")
    steps = word(subject, x) if subject.is_text else changes(x)
    priors = step_priors(network, jnp.asarray(x), steps, subject.key)
    of_keys = isinstance(network, CodebookFlow) and not subject.is_text
    directions = main_axes(priors) if of_keys else main_directions(priors)
    figure = _figure(subject, x, steps, priors, directions)
    return Section(
        title,
        joined([paragraph(_words(subject, priors, directions, of_keys)), figure.html()]),
        (figure,),
    )


def word(subject: Subject, x: np.ndarray) -> np.ndarray:
    """The steps of the longest word among the first, with the step after it."""
    text = [subject.symbol(number) for number in x[:64]]
    inside = [symbol.isalnum() for symbol in text] + [False]
    ends = [n for n in range(len(text)) if inside[n] and not inside[n + 1]]
    starts = [n for n in range(len(text)) if inside[n] and (n == 0 or not inside[n - 1])]
    words = [(start, end) for start, end in zip(starts, ends, strict=True)] or [(0, len(text) - 1)]
    start, end = max(words, key=lambda pair: (min(pair[1] - pair[0], _NUM_STEPS - 1), -pair[0]))
    return np.arange(start, min(end + 2, start + _NUM_STEPS, len(text)))


def changes(x: np.ndarray) -> np.ndarray:
    """Some steps that follow each other, from the one before the second change on."""
    found = np.flatnonzero((x[1:64] != x[: len(x[1:64])]).any(-1))
    first = int(found[min(1, len(found) - 1)]) if len(found) else 0
    return np.arange(first, min(first + _NUM_STEPS, len(x)))


def _words(subject: Subject, priors: list[Mixture], directions: np.ndarray, of_keys: bool) -> Html:
    size = directions.shape[0]
    if of_keys:
        first, second = (key_name(int(d) - NUM_DUMMIES) for d in directions.argmax(0))
        plane = f"two of its {size} dimensions: the keys {first} (to the right) and {second} (up)"
    else:
        plane = f"the two directions of its {size} in which it varies most at these steps"
    how = "in closed form"
    if not is_closed_form(subject.model.network):  # ty: ignore[invalid-argument-type]
        how = f"from {NUM_DRAWS} draws a step, smoothed with a width of {priors[0].width:.2f}"
    given = given_the_past("z")
    words = f", the prior's density of the next latent, in {plane}; {how}. The latents before it "
    return joined([given, words, "are the posterior's means."])


def _figure(
    subject: Subject,
    x: np.ndarray,
    steps: np.ndarray,
    priors: list[Mixture],
    directions: np.ndarray,
) -> Figure:
    grid = _grid(priors, directions)
    letters = [visible(subject.symbol(x[t])) if subject.is_text else "" for t in steps]
    panels = []
    for number, (step, prior) in enumerate(zip(steps, priors, strict=True)):
        start = "".join(letters[:number])
        title = (
            f"{start}\N{LOW LINE} \N{RIGHTWARDS ARROW} {letters[number]}"
            if subject.is_text
            else f"frame {step + 1}"
        )
        found = _modes(subject, prior, directions)
        panels.append(_panel(subject, title, prior, directions, grid, found, x[step]))
    caption = (
        "Darker is denser, lines at 1, 3, 10, 30 and 60% of a panel's highest. Several modes are "
        "several symbols that could come; once the word is determined there is one. Shares are "
        "those of the symbols; the one that does come is orange."
    )
    if not subject.is_text:
        caption = "Darker is denser, lines at 1, 3, 10, 30 and 60% of a panel's highest."
    return Figure("prior", caption, tuple(panels))


def _modes(
    subject: Subject, prior: Mixture, directions: np.ndarray
) -> list[tuple[int, float, np.ndarray]]:
    """Symbol, share and place of those that have a share worth a name."""
    found = []
    for symbol in np.unique(prior.symbols[prior.symbols >= 0]):
        own = prior.symbols == symbol
        share = prior.weights[own].sum()
        if share >= _LEAST_SHARE:
            mean = np.average(prior.means[own] @ directions, axis=0, weights=prior.weights[own])
            found.append((int(symbol), float(share), mean))
    return found


def _panel(
    subject: Subject,
    title: str,
    prior: Mixture,
    directions: np.ndarray,
    grid: np.ndarray,
    modes: list[tuple[int, float, np.ndarray]],
    actual: Any,
) -> Panel:
    # No narrower than what the grid can show.
    spacing = float(grid[0, 1, 0] - grid[0, 0, 0])
    density = prior._replace(width=max(prior.width, spacing)).density(grid, directions)
    named = [(visible(subject.symbol(s)), share, place, s) for s, share, place in modes]

    def draw(figure: Any) -> None:
        axes = figure.add_axes((0.02, 0.02, 0.96, 0.96 * _SIZE[0] / _SIZE[1]))
        _contours(axes, grid, density)
        for name, share, place, symbol in _apart(named, grid):
            colour = ORANGE if symbol == actual else INK
            axes.annotate(
                f"{name} {share:.0%}", place, (0, 6), textcoords="offset points", color=colour,
                ha="center", fontsize=8, bbox=_BEHIND,
            )  # fmt: skip
        axes.set_title(title)
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(visible=True, color=MUTED, linewidth=0.6)

    listed = ", ".join(
        f"{name} {share:.0%}" for name, share, *_ in sorted(named, key=lambda m: -m[1])
    )
    alt = f"Density of the next latent, {title}" + (f": {listed}." if listed else ".")
    return Panel(draw, alt, _SIZE)


def _apart(named: list[Any], grid: np.ndarray) -> list[Any]:
    """The names, likeliest first, that are not written over each other."""
    size = grid[-1, -1] - grid[0, 0]
    kept: list[Any] = []
    for each in sorted(named, key=lambda mode: -mode[1]):
        away = [np.abs(each[2] - other[2]) / size > _LABEL for other in kept]
        if all(far.any() for far in away):
            kept.append(each)
    return kept


def _contours(axes: Any, grid: np.ndarray, density: np.ndarray) -> None:
    from matplotlib.colors import to_rgba

    blue = to_rgba(BLUE)[:3]
    levels = [level * density.max() for level in _LEVELS]
    shades = [(*blue, 0.12 + 0.16 * n) for n in range(len(levels) - 1)]
    axes.contourf(grid[..., 0], grid[..., 1], density, levels=levels, colors=shades)


def _grid(priors: list[Mixture], directions: np.ndarray) -> np.ndarray:
    """Points [G, G, 2] of a square around what has weight."""
    places = [p.means[p.weights > 2e-3 * p.weights.max()] @ directions for p in priors]
    places = np.concatenate(places)
    centre = (places.max(0) + places.min(0)) / 2
    half = (places - centre).max() + 3.5 * priors[0].width
    half *= 1.1
    axis = np.linspace(-half, half, _GRID)
    return np.stack(np.meshgrid(axis + centre[0], axis + centre[1]), axis=-1)
