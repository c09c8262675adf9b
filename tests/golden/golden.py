"""Reads the authors' numbers, loads them into our modules and compares."""

import json

import jax
import jax.numpy as jnp
import numpy as np

# Class weights and MADE's masks.
NOT_PARAMETERS = ("cross_entropy.weight", "criterion.weight", ".mask")
ULP = 2.0**-23
# Of every comparison: its error over the largest that is let pass.
PARTS_OF_TOLERANCE: list[float] = []


class Golden:
    """One file: its config, and its arrays by the part of their name before the slash."""

    def __init__(self, path):
        with np.load(path) as file:
            self.arrays = dict(file)
        self.config = json.loads(str(self.arrays["config"]))

    def __getitem__(self, group: str) -> dict[str, np.ndarray]:
        """The arrays `group/<name>` by name."""
        prefix = group + "/"
        return {k.removeprefix(prefix): v for k, v in self.arrays.items() if k.startswith(prefix)}


def load(module, entries, parameters: dict[str, np.ndarray]):
    """Sets every parameter of the module; every one of the arrays must be used.

    Args:
        entries: what `name_map` says of the module.
    """
    entries = list(entries)
    assert len(entries) == len(jax.tree.leaves(module))
    for parameter, name, convert in entries:
        value = convert(parameters[name])
        assert value.shape == parameter.shape, name
        parameter[...] = jnp.asarray(value)
    left = set(parameters) - {name for _, name, _ in entries}
    assert not {n for n in left if not n.endswith(NOT_PARAMETERS) and not is_tied(parameters, n)}
    return module


def is_tied(parameters, name: str) -> bool:
    """Whether this is a second name of the embedding."""
    is_output = name.endswith("network.1.weight")
    return is_output and np.array_equal(parameters[name], parameters["input_embedding.weight"])


def check(ours, exact, ulps: float, where=None):
    """Compares with the float64 result; the unit is float32 rounding of its largest entry.

    Args:
        where: the entries that count, bool over the leading axes; the others are padding.
    """
    ours, exact = np.asarray(ours, np.float64), np.asarray(exact, np.float64)
    assert ours.shape == exact.shape
    if where is not None:
        ours, exact = ours[where], exact[where]
    error = np.abs(ours - exact).max() / (ULP * np.abs(exact).max())
    PARTS_OF_TOLERANCE.append(float(error / ulps))
    assert error <= ulps, f"{error:.1f} ulps"


def batch_first(array: np.ndarray) -> np.ndarray:
    """[T, B, ...] to [B, T, ...], or [T, B, S, D] to [B, S, T, D]."""
    array = np.swapaxes(array, 0, 1)
    return np.swapaxes(array, 1, 2) if array.ndim == 4 else array
