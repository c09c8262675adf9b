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
from tests.bijectors.table import ACROSS_T, CONTEXT, SIZE, STEPS, TABLE, drawn

pytestmark = pytest.mark.usefixtures("quick_compilation")
ULP = 2.0**-23
few = settings(max_examples=5, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 2**31 - 1)
each = pytest.mark.parametrize("name", TABLE)


def draw_batch(name, seed, size):
    """Events and contexts; across T every length occurs."""
    rng = np.random.default_rng(seed + 1)
    shape = (STEPS, SIZE) if name in ACROSS_T else (SIZE,)
    x = rng.standard_normal((size, *shape)).astype(np.float32)
    if name in ACROSS_T:
        return x, SequenceContext(((seed + np.arange(size)) % STEPS + 1).astype(np.int32))
    return x, TABLE[name].context(rng, size)


def row(tree, index):
    return jax.tree.map(lambda a: a[index], tree)


def both_ways(bijector, x, context):
    """(y, log_det) of x and what the inverse makes of y."""
    y, log_det = bijector.forward_and_log_det(x, context)
    return (y, log_det), bijector.inverse_and_log_det(y, context)


def with_jacobian(function, x, context):
    """(y, log_det, dy/dx) of one direction of a bijector."""

    def value_twice(x):
        y, log_det = function(x, context)
        return y, (y, log_det)

    jacobian, (y, log_det) = jax.jacfwd(value_twice, has_aux=True)(x)
    return y, log_det, jacobian


@jax.jit
def there_and_back(bijector, x, context):
    """Both directions with their Jacobians, the inverse at the image of x."""
    there = with_jacobian(bijector.forward_and_log_det, x, context)
    return there, with_jacobian(bijector.inverse_and_log_det, there[0], context)


def of_real_steps(x, context, results):
    """The results without padded steps, Jacobians as matrices, in float64."""
    (y, log_det, forward), (x_back, log_det_back, inverse) = results
    if isinstance(context, SequenceContext):
        n = context.length
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
    x, context = row(draw_batch(name, seed, 1), 0)
    results = there_and_back(drawn(TABLE[name].make, seed, scale), x, context)
    parts = of_real_steps(x, context, results)
    x, y, log_det, x_back, log_det_back, forward, inverse = parts
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(results))
    rounding = 1 + np.abs(x).max() + np.linalg.norm(inverse, 2) * (1 + np.abs(y).max())
    np.testing.assert_allclose(x_back, x, atol=100 * ULP * rounding)
    for jacobian, value in ((forward, log_det), (inverse, log_det_back)):
        np.testing.assert_allclose(np.linalg.slogdet(jacobian)[1], value, atol=1e-3)
    np.testing.assert_allclose(log_det + log_det_back, 0, atol=1e-4)
    np.testing.assert_allclose(forward @ inverse, np.eye(x.size), atol=1e-3)
    check_structure(name, *(direction[2] for direction in results))


def check_structure(name, forward, inverse):
    """No entry of a Jacobian where the order forbids it, padded steps included."""
    depends = TABLE[name].depends
    for jacobian in (forward, inverse):
        size = np.abs(jacobian)
        size = size.sum((1, 3)) if name in ACROSS_T else size
        assert (size[~depends] == 0).all()


@each
def test_eager_vmap_is_a_compiled_loop(name):
    bijector, batch = drawn(TABLE[name].make, 3, 0.5), draw_batch(name, 3, 2)
    lifted = jax.vmap(functools.partial(both_ways, bijector))
    with jax.disable_jit(not TABLE[name].iterates):
        together = (jax.jit(lifted) if TABLE[name].iterates else lifted)(*batch)
    for index in range(2):
        there, back = there_and_back(bijector, *row(batch, index))
        for ours, alone in zip(row(together, index), (there[:2], back[:2]), strict=True):
            jax.tree.map(functools.partial(np.testing.assert_allclose, atol=2e-5), ours, alone)


def total(bijector, x, context):
    """A sum over the real steps of everything that the two directions give."""
    results = (*bijector.forward_and_log_det(x, context), *bijector.inverse_and_log_det(x, context))
    if isinstance(context, SequenceContext):
        real = step_mask(context.length, STEPS)
        results = [jnp.where(real if a.ndim == 1 else real[:, None], a, 0) for a in results]
    return sum((i + 1) * jnp.sin(a).sum() for i, a in enumerate(results))


@jax.jit
@functools.partial(jax.value_and_grad, argnums=(0, 1))
def total_and_gradient(bijector, x, context):
    """Of a batch, in the parameters and in x."""
    return jax.vmap(total, (None, 0, 0))(bijector, x, context).sum()


# The others are put together from these, or are the same with the order reversed.
COMPOSED = {
    "chain", "made_of_inverted", "iaf_af_nlsq", "two_iaf_af", "af_scf_affine", "iaf_scf_gated",
    "af_nohidden_mixture", *(name for name in TABLE if "_reverse_" in name),
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in TABLE if name not in COMPOSED])
def test_gradient(name):
    """Every parameter has one, and padding changes neither it nor the value.

    Without a gradient are only, inside an array, MADE's masked weights and the positions that no
    length here reaches.
    """
    bijector, (x, context) = drawn(TABLE[name].make, 3, 0.5), draw_batch(name, 3, 8)
    value, gradient = total_and_gradient(bijector, x, context)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.isfinite(leaf).all()
        assert np.abs(leaf).max() > 1e-4, jax.tree_util.keystr(path)
    if name in ACROSS_T:
        padded = np.arange(STEPS) >= context.length[:, None]
        assert (gradient[1][padded] == 0).all()
        x[padded] = np.resize([np.nan, 1e30, np.inf, -np.inf], x[padded].shape)
        dirty = total_and_gradient(bijector, x, context)
        jax.tree.map(np.testing.assert_array_equal, dirty, (value, gradient))


@few
@given(
    seed=seeds,
    size=st.integers(2, 6),
    hidden=st.integers(1, 9),
    layers=st.integers(1, 3),
    reverse=st.booleans(),
    kind=st.sampled_from(
        [SplitCoupling, MaskedAutoregressive, functools.partial(MaskedAutoregressive, direct=True)]
    ),
)
def test_shapes(seed, size, hidden, layers, reverse, kind):
    """Any number of units, fewer than dimensions included."""
    sizes = (size, CONTEXT, hidden, layers)
    bijector = drawn(lambda: kind(*sizes, NLSQ, reverse=reverse, rngs=nnx.Rngs(0)), seed, 0.5)
    x = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
    (_, log_det), (x_back, log_det_back) = jax.jit(both_ways)(bijector, x, jnp.ones(CONTEXT))
    np.testing.assert_allclose(x_back, x, atol=1e-4)
    np.testing.assert_allclose(log_det_back, -log_det, atol=1e-4)


@pytest.mark.parametrize("context", [0, 3])
def test_one_context_for_all_events(context):
    """A batch axis of size 1, also of a context that has no numbers; traced only."""
    flow = MaskedAutoregressive(2, context, 4, 2, NLSQ, reverse=True, rngs=nnx.Rngs(0))
    of_all = jnp.zeros((1, context))
    for function in (flow.forward_and_log_det, flow.inverse_and_log_det):
        y, log_det = jax.eval_shape(function, jnp.zeros((5, 2)), of_all)
        assert (y.shape, log_det.shape) == ((5, 2), (5,))
