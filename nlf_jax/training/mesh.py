"""Devices side by side: each has all parameters and its share of the rows of every batch.

XLA splits the programs by itself (`jax.sharding`): a program is the same for any number of
devices, and so are its random numbers, which depend on an element's index alone
(`jax_threefry_partitionable`). Only the order of float32 sums differs.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PRNGKeyArray, PyTree

from nlf_jax.errors import UserError
from nlf_jax.models import SequenceModel
from nlf_jax.sampling import Samples, sample

AXIS = "data"


def make_mesh(num_devices: int | None = None) -> Mesh:
    """The first devices in a row; all that there are if None.

    Raises:
      UserError: there are not so many.
    """
    devices = jax.devices()
    num_devices = len(devices) if num_devices is None else num_devices
    if not 1 <= num_devices <= len(devices):
        found = f"{len(devices)} ({devices[0].platform})"
        raise UserError(f"--mesh={num_devices}, but the number of devices here is {found}.")
    return Mesh(np.array(devices[:num_devices]), (AXIS,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Everything on every device."""
    return NamedSharding(mesh, PartitionSpec())


def by_rows(mesh: Mesh) -> NamedSharding:
    """The first axis split evenly."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def over_rows(function: Callable, mesh: Mesh, num_by_rows: int, num_whole: int) -> Callable:
    """The function run by every device of the mesh on its share of the rows (``jax.shard_map``).

    Args:
      function: its first arguments have rows, the others go to every device as they are. What it
        returns must be the same on all devices (``jax.lax.psum`` over ``AXIS``).
      num_by_rows: number of arguments with rows.
      num_whole: number of the others.
    """
    in_specs = (PartitionSpec(AXIS),) * num_by_rows + (PartitionSpec(),) * num_whole
    return jax.shard_map(
        function, mesh=mesh, in_specs=in_specs, out_specs=PartitionSpec(), check_vma=False
    )


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
    """The tree's arrays, each on every device."""
    return jax.device_put(tree, replicated(mesh))


def shard_rows(x: np.ndarray, lengths: np.ndarray, mesh: Mesh) -> tuple[jax.Array, jax.Array]:
    """A batch split by rows; empty filler rows (length 0) make their number divisible.

    Args:
      x: [B, T] or [B, T, V].
      lengths: int32 [B].
      mesh: of N devices.

    Returns:
      Both with the rows rounded up to a multiple of N.
    """
    missing = -len(lengths) % mesh.size
    x = np.concatenate([x, np.repeat(x[:1], missing, axis=0)])
    lengths = np.concatenate([lengths, np.zeros(missing, lengths.dtype)])
    return jax.device_put((x, lengths), by_rows(mesh))


def sample_on(
    mesh: Mesh, model: SequenceModel, key: PRNGKeyArray, *, num_samples: int, **options: Any
) -> Samples:
    """As `sampling.sample`, and the same samples, each device drawing its share of them.

    Args:
      mesh: of the devices to use.
      model: the model.
      key: decides the samples.
      num_samples: how many.
      options: as there.
    """
    rounded_up = num_samples + -num_samples % mesh.size
    draw = partial(sample, num_samples=rounded_up, **options)
    samples = jax.jit(draw, out_shardings=by_rows(mesh))(replicate(model, mesh), key)
    return jax.tree.map(lambda rows: rows[:num_samples], samples)
