"""Schedules of the KL weight and the learning rate, in plain Python on the host."""

import math
from typing import NamedTuple

MIN_KL_WEIGHT = 1e-5
PLATEAU_DIVISOR = 4.0
PLATEAU_FLOOR = PLATEAU_DIVISOR**-5
WARMUP_FRACTION = 0.02


def kl_weight(epoch: float, *, zero_epochs: float, ramp_epochs: float) -> float:
    """Weight of the KL term: ``MIN_KL_WEIGHT`` for ``zero_epochs``, then linear to 1.

    Args:
        epoch: epochs of training done so far, fractions included.
        zero_epochs: the published code's ``initial_kl_zero`` is one less: it interpolates in its
            first epoch from epoch -1 to epoch 0.
        ramp_epochs: length of the rise.

    Returns:
        A weight in [1e-5, 1].
    """
    if epoch >= zero_epochs + ramp_epochs:
        return 1.0
    if epoch <= zero_epochs:
        return MIN_KL_WEIGHT
    return MIN_KL_WEIGHT + (1.0 - MIN_KL_WEIGHT) * (epoch - zero_epochs) / ramp_epochs


def ramp_is_over(epoch: int, *, zero_epochs: float, ramp_epochs: float) -> bool:
    """Whether the KL weight is 1 in the whole of this epoch (counted from 0).

    Only then do the plateau rule and the choice of the best model look at it.
    """
    return epoch >= zero_epochs + ramp_epochs


class Plateau(NamedTuple):
    """State of the plateau rule.

    Attributes:
        learning_rate: the present one.
        best_loss: lowest validation loss so far, inf before the first.
        bad_epochs: epochs since the last improvement or division.
    """

    learning_rate: float
    best_loss: float = math.inf
    bad_epochs: int = 0


def update_plateau(plateau: Plateau, loss: float, *, patience: int, floor: float) -> Plateau:
    """The plateau rule, after an epoch.

    The learning rate is divided by 4 after ``patience`` epochs without improvement; the caller
    resets the optimiser when it changes. The published code has no floor.

    Args:
        plateau: the state before.
        loss: validation loss of the epoch; a NaN counts as no improvement.
        patience: bad epochs before a division.
        floor: the learning rate never falls below this.

    Returns:
        The state after.
    """
    if loss < plateau.best_loss:
        return Plateau(plateau.learning_rate, loss, 0)
    if plateau.bad_epochs + 1 < patience:
        return plateau._replace(bad_epochs=plateau.bad_epochs + 1)
    lower = max(plateau.learning_rate / PLATEAU_DIVISOR, floor)
    return Plateau(lower, plateau.best_loss, 0)


def cosine_learning_rate(step: int, *, num_steps: int, peak: float) -> float:
    """Linear warm-up over the first 2% of the steps, then half a cosine down to 0.

    Args:
        step: number of the step, from 0.
        num_steps: steps of the whole run.
        peak: the highest rate.

    Returns:
        The learning rate of this step, positive for step < num_steps.
    """
    warmup = max(1, round(WARMUP_FRACTION * num_steps))
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, num_steps - warmup)
    return peak * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))
