"""What a score is shown in: bits per character for text, nats per frame for music."""

import math
from typing import NamedTuple

from nlf_jax.models.config import ModelConfig


class Unit(NamedTuple):
    """A unit of costs.

    Attributes:
        name: ``bits`` or ``nats``.
        per: of what, for the head of a table.
        key: of an ELBO in this unit among a run's metrics.
        per_nat: how many make a nat.
    """

    name: str
    per: str
    key: str
    per_nat: float


BITS = Unit("bits", "per character", "bpc", 1.0 / math.log(2.0))
NATS = Unit("nats", "per frame", "nats_per_frame", 1.0)


def unit_of(config: ModelConfig) -> Unit:
    """The unit of what a model is for."""
    return BITS if config.is_text else NATS
