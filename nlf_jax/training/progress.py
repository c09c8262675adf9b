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
        """The inverse of ``to_json``.

        Raises:
            ValueError: it is nothing that ``to_json`` gives.
        """
        try:
            rate, best, bad = value["plateau"]
            epochs, step, seconds = value["epochs"], value["best_step"], value["seconds"]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError("it does not say how far the run was") from error
        best = math.inf if best is None else best
        counts = [bad, epochs] if step is None else [bad, epochs, step]
        is_right = all(type(count) is int and count >= 0 for count in counts)
        is_right &= all(type(number) in (int, float) for number in (rate, best, seconds))
        if not is_right or not math.isfinite(rate + seconds):
            raise ValueError("what it says of the run's progress is no number")
        return cls(schedules.Plateau(rate, best, bad), epochs, step, seconds)

    def to_json(self) -> dict[str, Any]:
        """A JSON object (which has no infinity)."""
        rate, best, bad = self.plateau
        best = None if best == math.inf else best
        return dataclasses.asdict(self) | {"plateau": [rate, best, bad]}
