"""Properties of every bijector in the table, at parameters far larger than the initial ones.

The initial weights are so small that a flow starts close to the identity and a test of it would
say little. Hypothesis draws the parameters, the input and the length.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from nlf_jax.bijectors.coupling import SplitCoupling
from nlf_jax.bijectors.masked_autoregressive import MaskedAutoregressive
from nlf_jax.bijectors.recurrent import SequenceContext
from nlf_jax.bijectors.scalar import NLSQ
from nlf_jax.nn.position import step_mask
from tests.bijectors.table import ACROSS_T, CONTEXT, SIZE, STEPS, TABLE, redrawn

pytestmark = pytest.mark.usefixtures("quick_compilation")
ULP = 2.0**-23
few = settings(max_examples=5, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 2**31 - 1)
each = pytest.mark.parametrize("name", TABLE)
each_across_t = pytest.mark.parametrize("name", ACROSS_T)


def draw_input(entry, key):
    """An event and a context for it."""
    shape = (STEPS, SIZE) if entry.sequence else (SIZE,)
    x_key, context_key = jax.random.split(key)
    x = jax.random.normal(x_key, shape)
    if entry.sequence:
        return x, SequenceContext(jax.random.randint(context_key, (), 1, STEPS + 1))
    return x, jax.random.normal(context_key, (CONTEXT,))


def both_ways(bijector, x, context):
    """(y, log_det) of x and what the inverse makes of y."""
    y, log_det = bijector.forward_and_log_det(x, context)
    return (y, log_det), bijector.inverse_and_log_det(y, context)


@functools.cache
def compiled(name):
    """`both_ways` and the Jacobians of both directions of a freshly drawn bijector."""
    entry = TABLE[name]
    module = entry.make()

    @jax.jit
    def run(seed, scale):
        key, input_key = jax.random.split(jax.random.key(seed))
        bijector = redrawn(module, key, scale)
        x, context = draw_input(entry, input_key)
        (y, log_det), back = both_ways(bijector, x, context)
        forward = jax.jacfwd(lambda x: bijector.forward_and_log_det(x, context)[0])(x)
        inverse = jax.jacfwd(lambda y: bijector.inverse_and_log_det(y, context)[0])(y)
        steps = context.length if entry.sequence else 1
        return x, y, log_det, *back, forward, inverse, steps

    return run


def of_real_steps(name, results):
    """The results without padded steps, Jacobians as matrices, in float64."""
    x, y, log_det, x_back, log_det_back, forward, inverse, steps = results
    if name in ACROSS_T:
        n = int(steps)
        x, y, x_back = x[:n], y[:n], x_back[:n]
        log_det, log_det_back = log_det[:n].sum(), log_det_back[:n].sum()
        forward, inverse = forward[:n, :, :n], inverse[:n, :, :n]

    def matrix(j):
        return np.asarray(j, np.float64).reshape(x.size, x.size)

    return x, y, log_det, x_back, log_det_back, matrix(forward), matrix(inverse)


@each
@few
@given(seed=seeds, scale=st.floats(0.125, 0.75, width=32))
def test_inverse_and_log_det(name, seed, scale):
    results = compiled(name)(seed, scale)
    x, y, log_det, x_back, log_det_back, forward, inverse = of_real_steps(name, results)
    assert all(np.isfinite(a).all() for a in results)
    rounding = 1 + np.abs(x).max() + np.linalg.norm(inverse, 2) * (1 + np.abs(y).max())
    np.testing.assert_allclose(x_back, x, atol=100 * ULP * rounding)
    for jacobian, value in ((forward, log_det), (inverse, log_det_back)):
        np.testing.assert_allclose(np.linalg.slogdet(jacobian)[1], value, atol=1e-3)
    np.testing.assert_allclose(log_det + log_det_back, 0, atol=1e-4)
    np.testing.assert_allclose(forward @ inverse, np.eye(x.size), atol=1e-3)
    check_structure(name, results[5], results[6])


def check_structure(name, forward, inverse):
    """No entry of a Jacobian where the order forbids it, padded steps included."""
    depends = TABLE[name].depends
    for jacobian in (forward, inverse):
        size = np.abs(jacobian)
        size = size.sum((1, 3)) if name in ACROSS_T else size
        assert (size[~depends] == 0).all()


def draw_batch(name, size=8):
    """Inputs and contexts; across T every length occurs."""
    entry = TABLE[name]
    x, context = jax.vmap(lambda key: draw_input(entry, key))(
        jax.random.split(jax.random.key(1), size)
    )
    if entry.sequence:
        context = SequenceContext(1 + jnp.arange(size) % STEPS)
    return x, context


def drawn(name, scale=0.5):
    return redrawn(TABLE[name].make(), jax.random.key(3), scale)


@each
def test_vmap_is_a_loop_and_jit_is_eager(name):
    bijector, (x, context) = drawn(name), draw_batch(name, 2)
    together = jax.jit(jax.vmap(functools.partial(both_ways, bijector)))(x, context)
    for row in range(2):

        def one(tree):
            return jax.tree.map(lambda a: a[row], tree)  # noqa: B023

        with jax.disable_jit():
            alone = both_ways(bijector, one(x), one(context))
        jax.tree.map(functools.partial(np.testing.assert_allclose, atol=2e-5), one(together), alone)


@functools.cache
def compiled_gradient(name):
    """Gradient in parameters and input of a sum over the real steps of everything, and the sum."""

    def total(bijector, x, context):
        results = (
            *bijector.forward_and_log_det(x, context),
            *bijector.inverse_and_log_det(x, context),
        )
        real = step_mask(context.length, STEPS) if name in ACROSS_T else jnp.ones(SIZE, bool)

        def mask(a):
            return real.reshape(real.shape + (1,) * (a.ndim - 1)) if a.ndim else True

        return sum((i + 1) * jnp.where(mask(a), jnp.sin(a), 0).sum() for i, a in enumerate(results))

    def batch_total(bijector, *batch):
        return jax.vmap(total, (None, 0, 0))(bijector, *batch).sum()

    return jax.jit(jax.value_and_grad(batch_total, argnums=(0, 1)))


@each
def test_every_parameter_gets_a_gradient(name):
    """Except, inside an array: masked weights, and positions that no length here reaches."""
    _, (gradient, _) = compiled_gradient(name)(drawn(name), *draw_batch(name))
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.isfinite(leaf).all()
        assert np.abs(leaf).max() > 1e-4, jax.tree_util.keystr(path)


@pytest.mark.parametrize("garbage", [1e30, np.nan, np.inf])
@each_across_t
def test_padding_changes_nothing(name, garbage):
    bijector, (x, context) = drawn(name), draw_batch(name)
    padded = np.arange(STEPS) >= np.asarray(context.length)[:, None]
    run = compiled_gradient(name)
    clean = run(bijector, x, context)
    dirty = run(bijector, jnp.where(padded[..., None], garbage, x), context)
    jax.tree.map(np.testing.assert_array_equal, dirty, clean)
    assert (dirty[1][1][padded] == 0).all()


@few
@given(
    seed=seeds,
    size=st.integers(2, 6),
    hidden=st.integers(1, 9),
    layers=st.integers(1, 3),
    reverse=st.booleans(),
    made=st.booleans(),
)
def test_shapes(seed, size, hidden, layers, reverse, made):
    """Any number of units, fewer than dimensions included."""
    kind = MaskedAutoregressive if made else SplitCoupling
    bijector = kind(size, 2, hidden, layers, NLSQ, reverse=reverse, rngs=nnx.Rngs(0))
    bijector = redrawn(bijector, jax.random.key(seed), 0.5)
    x = jax.random.normal(jax.random.key(seed + 1), (size,))
    (_, log_det), (x_back, log_det_back) = jax.jit(both_ways)(bijector, x, jnp.ones(2))
    np.testing.assert_allclose(x_back, x, atol=1e-4)
    np.testing.assert_allclose(log_det_back, -log_det, atol=1e-4)
