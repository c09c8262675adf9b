"""What the host must remember between parts of a run."""

import dataclasses
import math
from typing import Any

from nlf_jax.training import schedules


@dataclasses.dataclass
class HostState:
    """In the checkpoint as JSON.

    Attributes:
        plateau: of the learning-rate rule, with the best validation loss.
        epochs: epochs trained and validated.
        best_step: step of the best checkpoint by validation.
        seconds: of training so far, over all parts of the run.
    """

    plateau: schedules.Plateau
    epochs: int = 0
    best_step: int | None = None
    seconds: float = 0.0

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "HostState":
        """The inverse of ``to_json``."""
        rate, best, bad = value["plateau"]
        plateau = schedules.Plateau(rate, math.inf if best is None else best, bad)
        return cls(plateau, value["epochs"], value["best_step"], value["seconds"])

    def to_json(self) -> dict[str, Any]:
        """A JSON object (which has no infinity)."""
        rate, best, bad = self.plateau
        best = None if best == math.inf else best
        return dataclasses.asdict(self) | {"plateau": [rate, best, bad]}
