"""Piano rolls with players."""

import json
from typing import Any

import numpy as np

from nlf_jax.data.music.piano_roll import LOWEST_PITCH, held_notes
from nlf_jax.media.plot import draw_roll
from nlf_jax.report.figures import BLUE, LINE, Panel, inline
from nlf_jax.report.html import Html, element

_SIZE = (3.7, 1.9)
# Of the picture: where time starts and ends, for the player's cursor.
_LEFT, _RIGHT, _BOTTOM, _TOP = 0.1, 0.98, 0.2, 0.87


def roll_panel(roll: np.ndarray, title: str, frame_seconds: float) -> Panel:
    """The picture of a roll bool [T, 88] over seconds."""

    def draw(figure: Any) -> None:
        axes = figure.add_axes((_LEFT, _BOTTOM, _RIGHT - _LEFT, _TOP - _BOTTOM))
        draw_roll(axes, roll, 1 / frame_seconds, BLUE, LINE)
        axes.set(xlabel="seconds", title=title)

    notes = len(held_notes(roll))
    alt = f"Piano roll, {title}: {notes} notes in {len(roll) * frame_seconds:.0f} seconds."
    return Panel(draw, alt, _SIZE)


def player(roll: np.ndarray, title: str, name: str, frame_seconds: float) -> Html:
    """A roll with a button that plays it; the browser makes the sound out of the notes."""
    notes = [[int(key) + LOWEST_PITCH, int(a), int(b)] for key, a, b in held_notes(roll)]
    notes.sort(key=lambda note: note[1])
    picture = element(
        "div",
        inline(roll_panel(roll, title, frame_seconds), name),
        element("div", class_="cursor", aria_hidden="true"),
        class_="roll",
    )
    button = element("button", "Play", type="button", hidden=True, aria_label=f"Play {title}")
    return element(
        "div", picture, button, data_notes=json.dumps(notes, separators=(",", ":")),
        data_frames=max(len(roll), 1), data_seconds=f"{frame_seconds:g}", data_left=_LEFT,
        data_right=_RIGHT,
    )  # fmt: skip
