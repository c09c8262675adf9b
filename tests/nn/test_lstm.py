"""The LSTM's hand-written tangent against JAX's own derivative of a plain scan."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from nlf_jax.nn.lstm import LSTM, BiLSTM, LSTMState, lstm, lstm_step, zero_state

STEPS, HIDDEN = 5, 3
MASKS = {"all": [1, 1, 1, 1, 1], "padded": [1, 1, 1, 0, 0], "one": [1, 0, 0, 0, 0]}


def plain_lstm(gates_x, weight, initial, mask, *, reverse):
    """The definition, differentiated by JAX."""

    def step(state, inputs):
        gates, real = inputs
        new = lstm_step(gates, weight, state)
        state = jax.tree.map(lambda a: jnp.where(real, a, 0.0), new)
        return state, state.hidden

    return jax.lax.scan(step, initial, (gates_x, mask), reverse=reverse)[1]


def arguments(seed=0):
    keys = jax.random.split(jax.random.key(seed), 4)
    gates = jax.random.normal(keys[0], (STEPS, 4 * HIDDEN))
    weight = jax.random.normal(keys[1], (HIDDEN, 4 * HIDDEN))
    initial = LSTMState(*(jax.random.normal(key, (HIDDEN,)) for key in keys[2:]))
    return gates, weight, initial


def assert_close(ours, expected):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5), ours, expected
    )


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("reverse", [False, True])
def test_value_and_derivatives(reverse, mask):
    mask = jnp.array(MASKS[mask], bool)
    gates, weight, initial = arguments()

    def everything(function):
        def run(*args):
            return function(*args, mask, reverse=reverse)

        def scalar(*args):
            return jnp.sin(run(*args)).sum()

        second = jax.hessian(lambda h: scalar(gates, weight, LSTMState(h, initial.cell)))
        return jax.jit(
            lambda *args: (
                run(*args),
                jax.jacrev(run, argnums=(0, 1, 2))(*args),
                jax.jacfwd(run, argnums=(0, 1, 2))(*args),
                jax.jacrev(jax.grad(scalar, argnums=1), argnums=1)(*args),
                second(initial.hidden),
            )
        )(gates, weight, initial)

    assert_close(everything(lstm), everything(plain_lstm))


def test_gradient_under_vmap():
    mask = jnp.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], bool)
    gates, weight, initial = (
        jax.tree.map(lambda *a: jnp.stack(a), *pair)
        for pair in zip(arguments(0), arguments(1), strict=True)
    )

    def total(function, weight):
        def run(*args):
            return function(*args, reverse=True)

        return jnp.sin(jax.vmap(run, (0, None, 0, 0))(gates, weight, initial, mask)).sum()

    ours, expected = (jax.grad(lambda w, f=f: total(f, w))(weight[0]) for f in (lstm, plain_lstm))
    assert_close(ours, expected)


def test_steps_give_the_states_of_the_whole_sequence():
    """With dropout factors, two layers and positions."""
    net = LSTM(2, HIDDEN, 2, STEPS, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (STEPS, 2))
    factors = jax.random.bernoulli(jax.random.key(1), 0.5, (STEPS, 2, HIDDEN)) * 2.0
    gates = net.position_gates(0, STEPS, jnp.int32(STEPS))
    states = [LSTMState(jnp.ones(HIDDEN), jnp.ones(HIDDEN))] * 2
    whole = net(x, gates, states, factors)
    for t in range(STEPS):
        states, top = net.step(net.cells[0].gates(x[t]) + gates[t], states, factors[t])
        np.testing.assert_allclose(top, whole[t], atol=1e-6)


@pytest.mark.parametrize("length", [1, 3, 5])
def test_padding_of_a_bidirectional_lstm(length):
    """Zero past the end, and elsewhere as if the sequence stopped there."""
    net = BiLSTM(2, HIDDEN, 2, STEPS, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (STEPS, 2))
    padded = net(x, jnp.int32(length), jnp.arange(STEPS) < length)
    short = net(x[:length], jnp.int32(length), jnp.ones(length, bool))
    for whole, part in zip(padded, short, strict=True):
        np.testing.assert_allclose(whole[:length], part, atol=1e-6)
        np.testing.assert_array_equal(whole[length:], 0)


def test_without_positions():
    net = LSTM(2, HIDDEN, 1, 0, rngs=nnx.Rngs(0))
    assert net.position is None
    states = net(jnp.ones((STEPS, 2)), net.position_gates(0, STEPS, 3), [zero_state(HIDDEN)])
    assert states.shape == (STEPS, HIDDEN)
