"""Devices side by side: each has all parameters and its share of the rows of every batch.

Every device runs the same program on its rows (``jax.shard_map``), and sums go over all devices.
Each row has a random key of its own, so that its noise does not depend on the number of devices.
Only the order of float32 sums differs. The devices may be those of several processes
(``training/hosts.py``).
"""

import numbers
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from nlf_jax.errors import UserError

AXIS = "data"
WHOLE, ROWS = PartitionSpec(), PartitionSpec(AXIS)


def make_mesh(num_devices: int | None = None) -> Mesh:
    """The first devices in a row; all that there are if None, those of other processes included.

    Raises:
        UserError: there are not so many, or fewer are asked for of several processes.
    """
    devices = jax.devices()
    num_devices = len(devices) if num_devices is None else num_devices
    if not isinstance(num_devices, numbers.Integral):
        raise UserError(f"--mesh={num_devices!r}: give a whole number of devices.")
    if not 1 <= num_devices <= len(devices):
        found = f"{len(devices)} ({devices[0].platform})"
        raise UserError(f"--mesh={num_devices}, but the number of devices here is {found}.")
    if num_devices < len(devices) and jax.process_count() > 1:
        raise UserError(f"--mesh={num_devices}: several processes use all their devices.")
    return Mesh(np.array(devices[:num_devices]), (AXIS,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Everything on every device."""
    return NamedSharding(mesh, WHOLE)


def by_rows(mesh: Mesh) -> NamedSharding:
    """The first axis split evenly."""
    return NamedSharding(mesh, ROWS)


def over_rows(
    function: Callable, mesh: Mesh, in_specs: tuple[PartitionSpec, ...], out_specs: PartitionSpec
) -> Callable:
    """The function, run by every device of the mesh on its own rows (``jax.shard_map``).

    A single device runs it as it is: partitioning for one costs a copy of what goes in and comes
    out, a quarter of a step where the step is short.

    Args:
        function: of arrays, or trees of them.
        mesh: the devices.
        in_specs: for each argument ``ROWS``, or ``WHOLE`` where all devices get the same.
        out_specs: ``ROWS``, or ``WHOLE`` where all devices return the same (``sum_over``).
    """
    if mesh.size == 1:
        return function
    return jax.shard_map(
        function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
    )


def sum_over(mesh: Mesh, tree: PyTree) -> PyTree:
    """The sum of all devices' trees, for a function that ``over_rows`` runs."""
    return tree if mesh.size == 1 else jax.lax.psum(tree, AXIS)


def map_rows(function: Callable, mesh: Mesh | None, rows: PyTree, *whole: PyTree) -> PyTree:
    """``function(rows, *whole)``, each device of the mesh computing a share of the rows.

    Args:
        function: of trees of arrays, under ``jax.jit``; no row of its result depends on another.
        mesh: the devices; None for no such division.
        rows: arrays with N rows, N at least one; whatever N is, the devices get equally many.
        whole: what all devices get.

    Returns:
        The function's result, N rows on every device.
    """
    if mesh is None:
        return function(rows, *whole)
    num_rows = len(jax.tree.leaves(rows)[0])
    index = np.minimum(np.arange(num_rows + -num_rows % mesh.size), num_rows - 1)
    filled = jax.tree.map(lambda leaf: leaf[index], rows)
    in_specs = (ROWS, *[WHOLE] * len(whole))
    result = over_rows(function, mesh, in_specs, ROWS)(filled, *whole)
    result = jax.tree.map(lambda leaf: leaf[:num_rows], result)
    return jax.lax.with_sharding_constraint(result, replicated(mesh))


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
    """The tree's arrays, each on every device; the same in all processes.

    Raises:
        UserError: the mesh is something else than ``make_mesh`` makes.
    """
    if not isinstance(mesh, Mesh) or mesh.axis_names != (AXIS,):
        raise UserError(f"mesh is {mesh!r}: give what nlf_jax.mesh.make_mesh(N) makes.")
    if jax.process_count() == 1:
        return jax.device_put(tree, replicated(mesh))
    # device_put would compare every array over all processes, and refuse keys.
    return jax.jit(_identity, out_shardings=replicated(mesh))(tree)


def shard_rows(x: np.ndarray, lengths: np.ndarray, mesh: Mesh) -> tuple[jax.Array, jax.Array]:
    """A batch split by rows; empty filler rows (length 0) make their number divisible.

    Args:
        x: [B, T] or [B, T, V]; the whole batch, in every process.
        lengths: int32 [B].
        mesh: of N devices.

    Returns:
        Both with the rows rounded up to a multiple of N.
    """
    missing = -len(lengths) % mesh.size
    x = np.concatenate([x, np.repeat(x[:1], missing, axis=0)])
    lengths = np.concatenate([lengths, np.zeros(missing, lengths.dtype)])
    x, lengths = jax.make_array_from_process_local_data(
        by_rows(mesh), [x, lengths], [x.shape, lengths.shape]
    )
    return x, lengths


def _identity(tree: PyTree) -> PyTree:
    return tree
