"""The LSTM's hand-written tangent against JAX's own derivative of a plain scan."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from nlf_jax.nn.lstm import LSTM, BiLSTM, dropout_factors
from nlf_jax.nn.recurrence import LSTMState, lstm, lstm_step, zero_state

STEPS, HIDDEN = 5, 3
MASKS = {"all": [1, 1, 1, 1, 1], "padded": [1, 1, 1, 0, 0], "one": [1, 0, 0, 0, 0]}


def plain_lstm(gates_x, offset, weight, initial, mask, *, reverse):
    """The definition, differentiated by JAX."""

    def step(state, inputs):
        gates, real = inputs
        new = lstm_step(gates, weight, state)
        state = jax.tree.map(lambda a: jnp.where(real, a, 0.0), new)
        return state, state.hidden

    return jax.lax.scan(step, initial, (gates_x + offset, mask), reverse=reverse)[1]


def arguments(seed=0):
    keys = jax.random.split(jax.random.key(seed), 5)
    gates, offset = (jax.random.normal(key, (STEPS, 4 * HIDDEN)) for key in keys[:2])
    weight = jax.random.normal(keys[2], (HIDDEN, 4 * HIDDEN))
    initial = LSTMState(*(jax.random.normal(key, (HIDDEN,)) for key in keys[3:]))
    return gates, offset, weight, initial


def assert_close(ours, expected):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5), ours, expected
    )


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("reverse", [False, True])
def test_value_and_derivatives(reverse, mask):
    mask = jnp.array(MASKS[mask], bool)
    gates, offset, weight, initial = arguments()

    def everything(function):
        def run(*args):
            return function(*args, mask, reverse=reverse)

        def scalar(*args):
            return jnp.sin(run(*args)).sum()

        second = jax.hessian(lambda h: scalar(gates, offset, weight, LSTMState(h, initial.cell)))
        return jax.jit(
            lambda *args: (
                run(*args),
                jax.jacrev(run, argnums=(0, 1, 2, 3))(*args),
                jax.jacfwd(run, argnums=(0, 1, 2, 3))(*args),
                jax.jacrev(jax.grad(scalar, argnums=2), argnums=2)(*args),
                second(initial.hidden),
            )
        )(gates, offset, weight, initial)

    assert_close(everything(lstm), everything(plain_lstm))


def test_batch_axes_and_vmap():
    """Value and gradient; the offset of all rows of a second batch axis is the same."""
    mask = jnp.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], bool)
    gates, offset, weight, initial = (
        jax.tree.map(lambda *a: jnp.stack(a), *pair)
        for pair in zip(arguments(0), arguments(1), strict=True)
    )

    def with_axes(weight, offset):
        steps_first = [jnp.swapaxes(a, 0, 1)[:, :, None] for a in (gates, offset)]
        steps_first[0] = jnp.repeat(steps_first[0], 3, axis=2)
        state = jax.tree.map(lambda a: a[:, None], initial)
        h = lstm(*steps_first, weight, state, mask.T[..., None], reverse=True)
        return jnp.sin(h).sum() / 3

    def under_vmap(function, weight, offset):
        run = jax.vmap(partial(function, reverse=True), (0, 0, None, 0, 0))
        return jnp.sin(run(gates, offset, weight, initial, mask)).sum()

    kinds = (with_axes, partial(under_vmap, lstm), partial(under_vmap, plain_lstm))
    results = [jax.value_and_grad(kind, argnums=(0, 1))(weight[0], offset) for kind in kinds]
    for ours in results[:2]:
        assert_close(ours, results[2])


def test_steps_give_the_states_of_the_whole_sequence():
    """With dropout factors, two layers and positions."""
    net = LSTM(2, HIDDEN, 2, STEPS, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (STEPS, 2))
    factors = dropout_factors(jax.random.key(1), 0.5, (STEPS,), 2, HIDDEN)
    gates, positions = net.cells[0].gates(x), net.position_gates(0, STEPS, jnp.int32(STEPS))
    states = [LSTMState(jnp.ones(HIDDEN), jnp.ones(HIDDEN))] * 2
    whole = net(gates, positions, states, factors)
    for t in range(STEPS):
        states, top = net.step(gates[t] + positions[t], states, factors[:, t])
        np.testing.assert_allclose(top, whole[t], atol=1e-6)


def test_dropout_factors():
    """Mean 1, and a row's own whatever the other rows."""
    keys = jax.random.split(jax.random.key(0), 3)
    factors = dropout_factors(keys, 0.2, (50, 3, 2), 4, 5)
    assert factors.shape == (4, 50, 3, 2, 5)
    np.testing.assert_array_equal(np.unique(factors), np.float32([0, 1.25]))
    np.testing.assert_allclose(factors.mean((0, 1, 3, 4)), 1.0, atol=0.05)
    np.testing.assert_array_equal(
        factors[:, :, :2], dropout_factors(keys[:2], 0.2, (50, 2, 2), 4, 5)
    )


@pytest.mark.parametrize("length", [1, 3, 5])
def test_padding_of_a_bidirectional_lstm(length):
    """Zero past the end, and elsewhere as if the sequence stopped there."""
    net = BiLSTM(2, HIDDEN, 2, STEPS, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (STEPS, 2))
    padded = net(lambda gates: gates(x), jnp.int32(length), jnp.arange(STEPS) < length)
    short = net(lambda gates: gates(x[:length]), jnp.int32(length), jnp.ones(length, bool))
    for whole, part in zip(padded, short, strict=True):
        np.testing.assert_allclose(whole[:length], part, atol=1e-6)
        np.testing.assert_array_equal(whole[length:], 0)


def test_without_positions():
    net = LSTM(2, HIDDEN, 1, 0, rngs=nnx.Rngs(0))
    assert net.position is None
    gates, positions = net.cells[0].gates(jnp.ones((STEPS, 2))), net.position_gates(0, STEPS, 3)
    np.testing.assert_array_equal(positions, np.tile(net.cells[0].bias, (STEPS, 1)))
    assert net(gates, positions, [zero_state(HIDDEN)]).shape == (STEPS, HIDDEN)
