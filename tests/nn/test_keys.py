import jax
import numpy as np
import pytest

from nlf_jax.nn.keys import split_each, split_for_steps


def data(keys):
    return np.asarray(jax.random.key_data(keys))


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_each_is_split_by_itself(shape):
    keys = jax.random.split(jax.random.key(0), shape) if shape else jax.random.key(0)
    parts = split_each(keys, 3)
    assert [part.shape for part in parts] == [shape] * 3
    for index in np.ndindex(shape):
        expected = jax.random.split(keys[index], 3)
        np.testing.assert_array_equal([data(part[index]) for part in parts], data(expected))


def test_keys_of_steps():
    keys = jax.random.split(jax.random.key(0), 2)
    steps = split_for_steps(keys, 3)
    expected = [data(jax.random.split(key, 3)) for key in keys]
    np.testing.assert_array_equal(data(steps), np.swapaxes(expected, 0, 1))
