"""Transposition of piano rolls, at random for training."""

import numpy as np


def transpose(roll: np.ndarray, shift: int) -> np.ndarray:
    """The roll with every note moved up, or down if negative, by the same number of keys.

    Where that would leave the keyboard, it moves only as far as all notes stay on it.

    Args:
        roll: bool [T, 88].
        shift: semitones.

    Returns:
        bool [T, 88].
    """
    keys = np.flatnonzero(roll.any(axis=0))
    if keys.size == 0:
        return roll
    return np.roll(roll, np.clip(shift, -keys[0], roll.shape[1] - 1 - keys[-1]), axis=1)


def transpose_rows(x: np.ndarray, max_semitones: int, rng: np.random.Generator) -> np.ndarray:
    """Every row transposed by its own shift, uniform in -max_semitones..max_semitones.

    Args:
        x: bool [B, T, 89], the dummy column first; padded frames are empty and stay so.
        max_semitones: the largest shift.
        rng: draws B shifts.

    Returns:
        bool [B, T, 89].
    """
    shifts = rng.integers(-max_semitones, max_semitones + 1, size=len(x)).tolist()
    rolls = [transpose(roll, shift) for roll, shift in zip(x[..., 1:], shifts, strict=True)]
    return np.concatenate([x[..., :1], np.stack(rolls)], axis=-1)
