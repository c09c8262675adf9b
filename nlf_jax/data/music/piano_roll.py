"""Piano rolls: bool [T, 88], one row per frame and one column per piano key (MIDI 21..108)."""

from collections.abc import Sequence

import numpy as np

from nlf_jax.errors import UserError

LOWEST_PITCH = 21
NUM_PITCHES = 88
# A model has an output more than a roll has keys: the first stands for nothing, as in the
# published code.
NUM_DUMMIES = 1
NUM_SYMBOLS = NUM_DUMMIES + NUM_PITCHES


def without_silence(roll: np.ndarray) -> np.ndarray:
    """Of a roll, bool [T, 88]: from the first frame in which a note sounds to the last one."""
    sounding = np.flatnonzero(roll.any(axis=1))
    return roll[sounding[0] : sounding[-1] + 1] if sounding.size else roll[:0]


def check_roll(roll: np.ndarray, name: str = "The piano roll") -> np.ndarray:
    """The roll as bool [T, 88], if it is one.

    Args:
        roll: [T, 88] of any boolean or numeric type, with only 0 and 1 in it.
        name: what to call it in the message.

    Raises:
        UserError: the shape, the type or a value is wrong.
    """
    roll = np.asarray(roll)
    if roll.dtype.kind not in "buif":
        raise UserError(f"{name} holds {roll.dtype} values; 0 and 1 are expected.")
    if roll.ndim != 2 or roll.shape[1] != NUM_PITCHES:
        raise UserError(f"{name} has shape {list(roll.shape)}; expected [T, {NUM_PITCHES}].")
    if not np.isin(roll, (0, 1)).all():
        raise UserError(f"{name} holds values other than 0 and 1 (1: the key sounds).")
    return roll.astype(np.bool_)


def held_notes(roll: np.ndarray) -> np.ndarray:
    """The notes of a bool [T, 88] roll: int [N, 3] of key, first frame, the frame after the last.

    A key that sounds in consecutive frames is one note. Sorted by key, then by time.
    """
    change = np.diff(np.pad(roll.T.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    keys, starts = np.nonzero(change == 1)
    _, ends = np.nonzero(change == -1)
    return np.stack([keys, starts, ends], axis=1)


def encode_roll(roll: np.ndarray) -> np.ndarray:
    """A roll [T, 88] as a model takes it: bool [T, 89], with the dummy first column."""
    return np.pad(np.asarray(roll, np.bool_), ((0, 0), (NUM_DUMMIES, 0)))


def decode_rolls(symbols: np.ndarray, lengths: Sequence[int]) -> list[np.ndarray]:
    """The piano rolls of a batch of samples: padding and the dummy first column removed.

    Args:
        symbols: bool [N, T, 89].
        lengths: int [N].

    Returns:
        bool [length, 88] each.
    """
    rows = zip(np.asarray(symbols), lengths, strict=True)
    return [row[: int(length), NUM_DUMMIES:].astype(np.bool_) for row, length in rows]
