"""The length prior p(T)."""

import numpy as np

from nlf_jax.errors import UserError


def length_log_prob(lengths: np.ndarray, max_length: int, smoothing: bool) -> np.ndarray:
    """Log-probability of every length, from a histogram.

    Args:
        lengths: int [N], lengths of the training and validation sequences.
        max_length: the longest length that the prior covers.
        smoothing: add one to every count, length 0 included (the music recipe); without it a
            length that never occurs has log-probability -inf (the text recipe).

    Returns:
        float32 [max_length + 1], in nats, indexed by length.

    Raises:
        UserError: there are no lengths, or one of them is outside 0..max_length.
    """
    lengths = np.asarray(lengths)
    if lengths.size == 0:
        raise UserError("The length prior needs at least one sequence.")
    if lengths.min() < 0 or lengths.max() > max_length:
        raise UserError(
            f"Lengths {lengths.min()}..{lengths.max()} do not fit max_length={max_length}; "
            "raise max_length."
        )
    counts = np.bincount(lengths, minlength=max_length + 1) + int(smoothing)
    with np.errstate(divide="ignore"):
        return np.log(counts / counts.sum()).astype(np.float32)
