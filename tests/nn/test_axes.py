import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from nlf_jax.nn.axes import aligned, varying_like


def test_aligned_has_the_axes_in_front():
    assert aligned(jnp.zeros(3), jnp.zeros((4, 2, 3))).shape == (1, 1, 3)
    assert aligned(jnp.zeros((2, 3)), jnp.zeros((2, 3))).shape == (2, 3)


def scan_from_constants(prepare):
    def total(x):
        carry = prepare((jnp.zeros(2), 1, jnp.zeros((), bool)), x)

        def step(carry, row):
            return (carry[0] + row, carry[1] + row[0].astype(int), carry[2] | (row[0] > 1)), None

        return jax.lax.scan(step, carry, x)[0]

    mesh, rows = Mesh(np.array(jax.devices()[:1]), ("rows",)), PartitionSpec("rows")
    leading = lambda x: jax.tree.map(lambda leaf: leaf[None], total(x[0]))  # noqa: E731
    return jax.shard_map(leading, mesh=mesh, in_specs=rows, out_specs=rows)(jnp.ones((1, 3, 2)))


def test_a_carry_of_constants_varies_as_the_steps_do():
    sums, count, seen = scan_from_constants(varying_like)
    np.testing.assert_array_equal(sums, [[3.0, 3.0]])
    assert (int(count[0]), bool(seen[0])) == (4, False)
    with pytest.raises(TypeError, match="carry"):
        scan_from_constants(lambda carry, x: carry)


def test_nothing_changes_outside_of_shard_map():
    carry = (jnp.zeros(2), 1)
    assert varying_like(carry, jnp.ones(3)) is carry
