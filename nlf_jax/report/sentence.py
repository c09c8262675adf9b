"""Figure: the conditional distributions over a sentence or a piece."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from nlf_jax.data.music.piano_roll import LOWEST_PITCH, NUM_DUMMIES
from nlf_jax.report.conditionals import NUM_PROPOSALS, conditionals
from nlf_jax.report.figures import BLUE, ORANGE, WIDTH, Figure, Panel, titled
from nlf_jax.report.html import given_the_past, joined, paragraph
from nlf_jax.report.page import Section
from nlf_jax.report.subject import Subject, visible
from nlf_jax.sampling import sample
from nlf_jax.scoring import is_exact

TITLE = "What comes next"
_MAX_STEPS, _LEAST = 64, 0.02
_SHADES, _PALEST = 12, 0.01
_NAMES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")


def example(subject: Subject) -> tuple[np.ndarray, str]:
    """The sequence to look at, as the model takes it, and where it is from."""
    if subject.text is not None:
        return subject.text, "the given text"
    length = min(subject.shown_length, 40 if subject.is_text else 48)
    if len(subject.rows):
        return subject.encoded(subject.rows_near(length, 1)[0]), f"one of the {subject.rows_are}"
    drawn = sample(subject.model, subject.key, length=length)
    return np.asarray(drawn.symbols[0]), "a sample of the model itself, as there are no data"


def next_section(subject: Subject, x: np.ndarray, source: str) -> Section:
    """The figure with its words."""
    shown = conditionals(subject.model, jnp.asarray(x), subject.key)[:_MAX_STEPS]
    figure = _symbols(subject, x, shown) if subject.is_text else _keys(subject, x, shown)
    how = "exact"
    if not is_exact(subject.model.network):
        how = f"estimated by importance sampling with {NUM_PROPOSALS} proposals a step"
    what = ", the distribution of each symbol given those before it"
    if not subject.is_text:
        what = ", as the probability that each key sounds in a frame given the frames before it"
    words = paragraph(f"For {source}: ", given_the_past("x"), f"{what}; {how}.")
    return Section(TITLE, joined([words, figure.html()]), (figure,))


def _symbols(subject: Subject, x: np.ndarray, shown: np.ndarray) -> Figure:
    rows = np.flatnonzero(
        (shown.max(0) > _LEAST) | np.isin(np.arange(shown.shape[1]), x[: len(shown)])
    )
    names = [visible(subject.symbol(row)) for row in rows.tolist()]
    steps = np.arange(len(shown))
    exact = is_exact(subject.model.network)
    least = 1e-12 if exact else 0.5 / NUM_PROPOSALS
    bits = -np.log2(np.maximum(shown[steps, x[: len(shown)]], least))
    places = np.searchsorted(rows, x[: len(shown)])
    width, height = max(WIDTH, 0.7 + 0.145 * len(shown)), 1.9 + 0.145 * len(rows)

    def draw(figure: Any) -> None:
        parts = {"height_ratios": [0.9, 0.145 * len(rows)], "hspace": 0.02}
        top, axes = figure.subplots(2, 1, sharex=True, gridspec_kw=parts)
        top.bar(steps, bits, 0.7, color=ORANGE)
        titled(figure, f"Surprise in bits, and what could come: {subject.budget}")
        top.tick_params(axis="x", length=0)
        _cells(axes, shown[:, rows])
        axes.plot(steps, places, "s", markersize=9, fillstyle="none", color=ORANGE, mew=1)
        axes.set_xticks(steps, [visible(subject.symbol(n)) for n in x[: len(shown)]])
        axes.set_yticks(range(len(rows)), names)
        axes.tick_params(length=0)
        axes.set_xlabel("what comes")
        axes.set_ylabel("what could come")

    mean = bits.mean()
    text = "".join(subject.symbol(n) for n in x[: len(shown)])
    alt = (
        f"Heat map of the probability of every symbol at each of {len(shown)} steps of “{text}”, "
        f"with bars of the surprise: {mean:.2f} bits a symbol on average, at most {bits.max():.1f}."
    )
    caption = (
        "Darker is more probable, squares are what does come, bars the bits that it costs. In the "
        "middle of words there is often one candidate left, at their starts many."
    )
    if not exact:
        caption += f" Bars end at {-np.log2(least):.1f} bits: more can't be told from the estimate."
    return Figure("conditionals", caption, (Panel(draw, alt, (width, height)),))


def _keys(subject: Subject, x: np.ndarray, shown: np.ndarray) -> Figure:
    sounding = x[: len(shown), NUM_DUMMIES:].astype(bool)
    shown = shown[:, NUM_DUMMIES:]
    keys = np.flatnonzero((shown.max(0) > _LEAST) | sounding.any(0))
    low, high = (keys[0], keys[-1]) if keys.size else (39, 51)
    rows = np.arange(low, high + 1)
    steps, keys = np.nonzero(sounding)
    width = max(WIDTH, 0.8 + 0.1 * len(shown))

    def draw(figure: Any) -> None:
        axes = figure.add_subplot(xlabel="frames", ylabel="key")
        _cells(axes, shown[:, rows])
        axes.plot(steps, keys - low, "o", markersize=2.2, color=ORANGE)
        ticks = [row for row in rows if (row + LOWEST_PITCH) % 12 == 0]
        axes.set_yticks([row - low for row in ticks], [key_name(row) for row in ticks])
        titled(figure, f"Probability of each key given the past\n{subject.budget}")

    hit = shown[sounding].mean() if sounding.any() else 0.0
    alt = (
        f"Heat map of the probability of every key in {len(shown)} frames; keys that do sound had "
        f"a probability of {hit:.2f} on average."
    )
    caption = "Darker is more probable (shares of 128 draws a frame); dots are the keys that sound."
    return Figure("conditionals", caption, (Panel(draw, alt, (width, 3.2)),))


def key_name(key: int) -> str:
    """Of a key of a roll: ``C4`` and the like."""
    pitch = int(key) + LOWEST_PITCH
    return f"{_NAMES[pitch % 12]}{pitch // 12 - 1}"


def _cells(axes: Any, shown: np.ndarray) -> None:
    """A square for every probability [T, N] worth showing, the darker the higher."""
    from matplotlib.colors import to_rgba
    from matplotlib.patches import PathPatch, Rectangle
    from matplotlib.path import Path

    # One path a shade makes a small file.
    shades = np.where(shown > _PALEST, np.ceil(_SHADES * shown**0.6), 0).astype(int)
    for shade in np.unique(shades[shades > 0]):
        places = np.argwhere(shades == shade) - 0.5
        squares = [Rectangle(place, 1, 1) for place in places]
        path = Path.make_compound_path(
            *(s.get_transform().transform_path(s.get_path()) for s in squares)
        )
        colour = (*to_rgba(BLUE)[:3], shade / _SHADES)
        axes.add_patch(PathPatch(path, facecolor=colour, linewidth=0))
    axes.set(xlim=(-0.6, len(shown) - 0.4), ylim=(-0.6, shown.shape[1] - 0.4))
