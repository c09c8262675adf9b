"""Pictures of piano rolls."""

from typing import TYPE_CHECKING

import numpy as np

from nlf_jax.data.music.piano_roll import LOWEST_PITCH, NUM_PITCHES, check_roll, held_notes

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

_MARGIN = 3
_COLOR = "#1f4e79"


def plot_roll(
    roll: np.ndarray, *, title: str = "", frames_per_quarter: int = 2
) -> "matplotlib.figure.Figure":
    """A picture of a piano roll: time in quarter notes to the right, pitch upwards.

    Args:
        roll: bool [T, 88].
        title: written above it.
        frames_per_quarter: frames in a quarter note.

    Returns:
        A figure of its own, not one of pyplot's: ``figure.savefig(path)`` writes it.

    Raises:
        UserError: the roll is not of that form.
    """
    # Imported late, as it takes a while.
    from matplotlib.figure import Figure

    roll = check_roll(roll)
    width = min(max(len(roll) / 12, 5), 20)
    figure = Figure(figsize=(width, 3.2), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel="quarter notes", ylabel="pitch")
    draw_roll(axes, roll, frames_per_quarter)
    return figure


def draw_roll(
    axes: "matplotlib.axes.Axes",
    roll: np.ndarray,
    frames_per_quarter: float,
    colour: str = _COLOR,
    line: str = "0.85",
) -> None:
    """Draws a roll bool [T, 88] on axes: time in quarter notes, or what has so many frames.

    Args:
        colour: of the notes.
        line: colour of the grid.
    """
    keys, starts, ends = held_notes(roll).T
    for key in np.unique(keys):
        spans = np.stack([starts, ends - starts], axis=1)[keys == key] / frames_per_quarter
        axes.broken_barh(spans, (key + LOWEST_PITCH - 0.45, 0.9), color=colour)
    lowest, highest = np.array([keys.min(), keys.max()] if keys.size else [39, 51]) + LOWEST_PITCH
    octaves = range(24, LOWEST_PITCH + NUM_PITCHES, 12)
    axes.set_yticks(octaves, [f"C{pitch // 12 - 1}" for pitch in octaves])
    axes.grid(axis="y", color=line)
    axes.set_axisbelow(True)
    axes.set_xlim(0, max(len(roll), 1) / frames_per_quarter)
    axes.set_ylim(lowest - _MARGIN, highest + _MARGIN)
