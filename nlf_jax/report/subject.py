"""What a report is about: a trained run, its data if they are at hand, and its units."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from nlf_jax.data.music.piano_roll import encode_roll
from nlf_jax.latents import right_padded
from nlf_jax.models import LatentVariableModel, SequenceModel
from nlf_jax.training.config import TrainConfig
from nlf_jax.training.units import Unit, unit_of
from nlf_jax.training.workdir import Description

# So long, in steps and in seconds, are the sequences that are shown.
_SHOWN_SYMBOLS, _SHOWN_SECONDS = 120, 24.0
_BEATS_PER_MINUTE = 100.0


@dataclasses.dataclass(frozen=True)
class Subject:
    """A trained run.

    Attributes:
        workdir: of the run.
        description: what its config.json says.
        config: of the run.
        model: the trained one.
        steps: of training that it has.
        rows: sequences of a split, int32 [T] or bool [T, 88] each; empty without data.
        rows_are: what they are called, or why there are none.
        key: of everything that is drawn.
        text: that the user asks for, if any.
    """

    workdir: Path
    description: Description
    config: TrainConfig
    model: SequenceModel
    steps: int
    rows: Sequence[np.ndarray]
    rows_are: str
    key: jax.Array
    text: np.ndarray | None = None

    @property
    def is_text(self) -> bool:
        """Whether sequences are of symbols; else of frames."""
        return self.config.is_text

    @property
    def has_latent(self) -> bool:
        """Whether it is a latent flow; else a language model."""
        return isinstance(self.model.network, LatentVariableModel)

    @property
    def unit(self) -> Unit:
        """Of costs."""
        return unit_of(self.config)

    @property
    def unit_name(self) -> str:
        """Of costs, as in ``bits per character``."""
        return f"{self.unit.name} {self.unit.per}"

    @property
    def step_name(self) -> str:
        """What a step of a sequence is."""
        return "characters" if self.is_text else "frames"

    @property
    def budget(self) -> str:
        """For a figure's title."""
        return f"{self.config.model}, {self.steps:,} steps"

    @property
    def frame_seconds(self) -> float:
        """How long a frame of music lasts."""
        data = self.description["data"]
        if "frame_seconds" in data:
            return float(data["frame_seconds"])
        return 60 / _BEATS_PER_MINUTE / float(data.get("frames_per_quarter", 2))

    @property
    def max_length(self) -> int:
        """The longest sequence that the model takes."""
        return self.model.max_length

    @property
    def shown_length(self) -> int:
        """Steps of a sequence to show: the median of p(T), or less."""
        probability = np.exp(np.asarray(self.model.length_log_prob, np.float64))
        median = int(np.searchsorted(np.cumsum(probability), 0.5 * probability.sum()))
        most = _SHOWN_SYMBOLS if self.is_text else round(_SHOWN_SECONDS / self.frame_seconds)
        return max(1, min(median, most, self.max_length))

    def encoded(self, row: np.ndarray) -> np.ndarray:
        """A row of the data as the model takes it."""
        return np.asarray(row) if self.is_text else encode_roll(row)

    def batch(self, rows: Sequence[np.ndarray]) -> tuple[jax.Array, jax.Array]:
        """Rows of the data right-padded with zeros, [B, T, ..], and their lengths."""
        return right_padded([jnp.asarray(self.encoded(row)) for row in rows])

    def rows_near(self, length: int, count: int) -> list[np.ndarray]:
        """The first rows of the data among those whose length is nearest."""
        distance = [abs(len(row) - length) for row in self.rows]
        return [self.rows[i] for i in np.argsort(distance, kind="stable")[:count]]

    def symbol(self, number: int) -> str:
        """The text of a symbol; without a vocabulary its number."""
        vocabulary = self.model.vocabulary
        if vocabulary is None:
            return f"{int(number)} "
        return vocabulary.decode(np.array([[number]]), np.array([1]))[0]


def visible(symbol: str) -> str:
    """A symbol for a figure: what would not be seen has a sign."""
    signs = {
        " ": "\N{OPEN BOX}",
        "\n": "\N{SYMBOL FOR NEWLINE}",
        "\t": "\N{SYMBOL FOR HORIZONTAL TABULATION}",
    }
    signs["\f"] = "\N{SYMBOL FOR FORM FEED}"
    if symbol in signs:
        return signs[symbol]
    text = symbol.strip()
    return text if text and text.isprintable() else f"U+{ord(symbol[0]):04X}"
