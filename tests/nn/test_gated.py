"""The gated recurrence against a plain loop, its steps, its padding and what it may read."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from nlf_jax.nn.gated import BiGated, GatedBlock, GatedStack, linear_recurrence, sigmoid
from tests.bijectors.table import drawn

STEPS, SIZE, HIDDEN, BLOCKS = 7, 2, 3, 2
KEY = jax.random.key(0)
pytestmark = pytest.mark.usefixtures("quick_compilation")


def plain_recurrence(decay, update, reverse):
    """The definition, differentiated by JAX."""

    def step(h, inputs):
        h = inputs[0] * h + inputs[1]
        return h, h

    return jax.lax.scan(step, jnp.zeros_like(update[0]), (decay, update), reverse=reverse)[1]


def make_stack(kind=GatedStack, products="float32"):
    """Parameters so large that every one of them is felt; the scales of norms are not near one."""
    sizes = (SIZE, HIDDEN, BLOCKS, STEPS)
    return drawn(lambda: kind(*sizes, products=products, rngs=nnx.Rngs(0)), seed=0, scale=0.7)


def draw_inputs(stack, *shape):
    return stack.inputs(jax.random.normal(KEY, (STEPS - 1, *shape, SIZE)))


def assert_close(ours, expected, atol=1e-5):
    jax.tree.map(partial(np.testing.assert_allclose, atol=atol, rtol=1e-5), ours, expected)


@pytest.mark.parametrize("reverse", [False, True])
def test_value_and_derivatives_of_the_recurrence(reverse):
    shape = (STEPS, 2, HIDDEN)
    decay = jax.random.uniform(KEY, shape, minval=-0.2, maxval=1.0)
    update = jax.random.normal(jax.random.key(1), shape)

    def everything(function):
        run = partial(function, reverse=reverse)
        scalar = lambda *args: jnp.sin(run(*args)).sum()  # noqa: E731
        gradient = jax.grad(scalar, argnums=(0, 1))
        along = lambda *args: jax.jvp(run, args, (jnp.cos(decay), jnp.sin(update)))[1]  # noqa: E731
        second = lambda *args: jax.jvp(gradient, args, (jnp.cos(decay), jnp.sin(update)))[1]  # noqa: E731
        third = jax.grad(lambda *args: sum((g * g).sum() for g in gradient(*args)))
        compute = lambda *args: [f(*args) for f in (run, along, gradient, second, third)]  # noqa: E731
        return jax.jit(compute)(decay, update)

    ours = everything(lambda *args, reverse: linear_recurrence(*args, reverse))
    assert_close(ours, everything(plain_recurrence))


def test_sigmoid():
    x = jnp.linspace(-30, 30, 101)
    np.testing.assert_allclose(sigmoid(x), jax.nn.sigmoid(x), atol=1e-7)


@pytest.mark.parametrize(
    ("rate", "products"), [(0.0, "float32"), (0.5, "float32"), (0.5, "bfloat16")]
)
def test_steps_give_the_summaries_of_the_whole_sequence(rate, products):
    """With keys for the first of two batch axes; the lengths have size 1 in the second."""
    stack = make_stack(products=products)
    length, keys = jnp.array([[STEPS], [4]]), jax.random.split(jax.random.key(1), 2)

    @jax.jit
    def all_ways(stack):
        inputs = draw_inputs(stack, 2, 3)
        whole = stack.summaries(inputs, length, keys, rate)
        carry, per_step = stack.start(length, (STEPS, 2, 3), keys, rate)
        step = lambda carry, args: (stack.advance(carry, *args), carry.summary)  # noqa: E731
        following = jnp.concatenate([inputs, jnp.zeros_like(inputs[:1])])
        in_order = jax.lax.scan(step, carry, (following, per_step))[1]
        without = stack.summaries(inputs, length)
        return whole, in_order, without, stack.summaries(inputs[:, 1, 2], length[1, 0])

    whole, in_order, without, alone = all_ways(stack)
    assert whole.shape == (STEPS, 2, 3, HIDDEN)
    # What lies between two bfloat16 numbers, 2^-8 apart near 1, may be rounded either way.
    atol = 2e-5 if products == "float32" else 0.02
    assert_close(in_order, whole, atol)
    assert_close(without[:, 1, 2], alone, atol)
    assert (np.abs(without - whole).max() > 0.1) == (rate > 0)


def test_bfloat16_products_and_the_length_are_felt():
    """The first summary has read nothing, but knows how long the sequence is."""
    length = jnp.array([STEPS, 4])
    run = jax.jit(lambda stack: stack.summaries(draw_inputs(stack, 2), length))
    exact, rounded = (run(make_stack(products=products)) for products in ("float32", "bfloat16"))
    assert 1e-4 < np.abs(exact - rounded).max() < 0.2
    assert np.abs(exact[0, 0] - exact[0, 1]).max() > 1e-2


def test_a_summary_has_read_the_earlier_inputs_only():
    stack = make_stack()
    read = jax.jit(jax.jacfwd(lambda x: stack.summaries(x, jnp.int32(STEPS))))
    size = np.abs(read(draw_inputs(stack))).sum((1, 3))
    np.testing.assert_array_equal(size != 0, np.tri(STEPS, STEPS - 1, k=-1, dtype=bool))


def test_every_parameter_gets_a_gradient():
    """Every number in it."""
    stack = make_stack()
    inputs, length = jax.random.normal(KEY, (STEPS - 1, 2, SIZE)), jnp.array([STEPS, 4])

    @jax.jit
    @jax.grad
    def gradient(stack):
        return jnp.sin(stack.summaries(stack.inputs(inputs), length)).sum()

    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient(stack)):
        assert (np.abs(leaf) > 1e-6).all(), jax.tree_util.keystr(path)


@pytest.mark.parametrize("length", [1, 5])
def test_padding_of_a_bidirectional_stack(length):
    """Zero past the end, and elsewhere as if the sequence stopped there."""
    net, x = make_stack(BiGated), jax.random.normal(KEY, (STEPS, SIZE))
    run = jax.jit(lambda x, mask: net(lambda inputs: inputs(x), jnp.int32(length), mask))
    real = jnp.arange(STEPS) < length
    padded, short = run(x, real), run(x[:length], jnp.ones(length, bool))
    dirty = run(jnp.where(real[:, None], x, 1e3), real)
    for whole, other, part in zip(padded, dirty, short, strict=True):
        assert_close(whole[:length], part)
        np.testing.assert_array_equal(whole[length:], 0)
        np.testing.assert_array_equal(other, whole)


def test_the_two_directions_read_what_lies_on_their_side():
    net, x = make_stack(BiGated), jax.random.normal(KEY, (STEPS, SIZE))
    real = jnp.arange(STEPS) < STEPS - 1
    run = jax.jacfwd(lambda x: net(lambda inputs: inputs(x), jnp.int32(STEPS - 1), real))
    ahead, back = (np.abs(jacobian).sum((1, 3)) != 0 for jacobian in jax.jit(run)(x))
    within = np.outer(real, real)
    np.testing.assert_array_equal(ahead, np.tri(STEPS, dtype=bool) & within)
    np.testing.assert_array_equal(back, np.tri(STEPS, dtype=bool).T & within)


def test_initial_gates_forget_at_different_speeds():
    block = jax.jit(lambda: GatedBlock(HIDDEN, products="float32", rngs=nnx.Rngs(0)))()
    np.testing.assert_allclose(block.gates.bias[...], [-4.0, -1.5, 1.0, 0.0, 0.0, 0.0])


def normed(x, scale):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale


def test_a_block_is_its_equations():
    """Step by step in float64, from the docstring of `GatedBlock`."""
    block = make_stack().blocks[0]
    x = np.asarray(jax.random.normal(KEY, (STEPS, HIDDEN)))
    logistic = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    linear = lambda layer, x: x @ np.float64(layer.weight[...]) + np.float64(layer.bias[...])  # noqa: E731
    read = np.pad(normed(x, np.float64(block.time_norm.scale[...])), [(3, 0), (0, 0)])
    h, expected = np.zeros(HIDDEN), []
    for t in range(STEPS):
        u = sum(np.float64(w) * read[3 + t - k] for k, w in enumerate(block.convolution[...]))
        gate, candidate = np.split(linear(block.gates, u), 2)
        h = (1 - logistic(gate)) * h + logistic(gate) * candidate
        y = x[t] + linear(block.time_out, h)
        units = linear(block.units, normed(y, np.float64(block.step_norm.scale[...])))
        left, right = np.split(units, 2)
        expected.append(y + linear(block.step_out, left * logistic(left) * right))
    assert_close(jax.jit(block)(x), np.stack(expected), atol=1e-4)
