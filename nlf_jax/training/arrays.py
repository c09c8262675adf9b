"""Pytrees as named arrays on the host, and digests of them."""

import hashlib
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

Arrays = dict[str, np.ndarray]


def to_arrays(tree: PyTree) -> Arrays:
    """A pytree's leaves by name, copied to the host; keys as their raw data."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    raw = {_name(path): _without_key_type(leaf) for path, leaf in leaves}
    # A copy: on CPU the arrays may share memory with buffers that the next step overwrites.
    return {name: np.array(leaf) for name, leaf in jax.device_get(raw).items()}


def shapes_of(template: PyTree) -> dict[str, jax.ShapeDtypeStruct]:
    """What ``to_arrays`` would give for a template, without contents."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(template)
    return {_name(path): jax.eval_shape(_without_key_type, leaf) for path, leaf in leaves}


def from_arrays(template: PyTree, arrays: Arrays) -> PyTree:
    """The inverse of ``to_arrays``, for a template of the same structure.

    Raises:
        ValueError: the names, shapes or dtypes are others.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(template)
    names = [_name(path) for path, _ in leaves]
    if set(names) != set(arrays):
        other = sorted(set(names) ^ set(arrays))[:3]
        raise ValueError(f"other parameters than this model's, for instance {', '.join(other)}")
    values = [
        _like(leaf, arrays[name], name) for name, (_, leaf) in zip(names, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, values)


def digest(arrays: Arrays) -> str:
    """SHA-256 of names, dtypes, shapes and contents, in hexadecimal."""
    sha256 = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        sha256.update(repr((name, array.dtype.str, array.shape)).encode())
        sha256.update(array.tobytes())
    return sha256.hexdigest()


def digest_json(value: Any) -> str:
    """SHA-256 of a JSON value, in hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _name(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _is_key(leaf: Any) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _without_key_type(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _like(leaf: Any, array: np.ndarray, name: str) -> jax.Array:
    expected = jax.eval_shape(_without_key_type, leaf)
    if (array.shape, array.dtype) != (expected.shape, expected.dtype):
        found = f"{array.dtype}{list(array.shape)}"
        raise ValueError(f"{name} is {found}, not {expected.dtype}{list(expected.shape)}")
    value = jnp.array(array)
    return jax.random.wrap_key_data(value) if _is_key(leaf) else value
