"""LSTM layers for one sequence; batch with ``jax.vmap``.

The recurrence has a hand-written tangent (``jax.custom_jvp``). Everything in the tangent that is
not recurrent happens for all steps at once, so its transpose, which is the backward pass, computes
each weight gradient as one matrix product over all steps and examples. Being plain JAX it works
under vmap, in forward and reverse mode, and to any order.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from nlf_jax.nn.linear import project, uniform
from nlf_jax.nn.position import PositionEmbedding


class LSTMState(NamedTuple):
    """Hidden and cell state, each [H]."""

    hidden: Float[Array, "H"]
    cell: Float[Array, "H"]


def zero_state(size: int) -> LSTMState:
    """The all-zero state."""
    return LSTMState(jnp.zeros(size), jnp.zeros(size))


def _activate(gates: Float[Array, "4H"]) -> Float[Array, "4H"]:
    """sigmoid(i), sigmoid(f), tanh(g), sigmoid(o), as one tanh: sigmoid(x) = (1 + tanh(x/2)) / 2.

    XLA on a CPU makes of three sigmoids and a tanh a kernel that is four times slower.
    """
    scale = np.repeat(np.array([0.5, 0.5, 1.0, 0.5], np.float32), gates.shape[-1] // 4)
    return jnp.tanh(gates * scale) * scale + (1 - scale)


def lstm_step(
    gates_x: Float[Array, "4H"], weight: Float[Array, "H 4H"], state: LSTMState
) -> LSTMState:
    """One step: ``c' = f c + i g``, ``h' = o tanh(c')`` with gates ``gates_x + h W``.

    Args:
        gates_x: the input's share of the gates i, f, g, o, biases included.
        weight: recurrent weight.
    """
    return _step(gates_x, weight, 1.0, state)[0]


def _step(gates_x, weight, keep, state: LSTMState) -> tuple[LSTMState, Float[Array, "4H"]]:
    """The state times ``keep``, and the activated gates."""
    gates = _activate(gates_x + project(state.hidden, weight))
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    cell = keep * (f * state.cell + i * g)
    return LSTMState(o * jnp.tanh(cell), cell), gates


def _lstm_scan(gates_x, weight, initial, keep, reverse):
    def step(state, inputs):
        state, _ = _step(inputs[0], weight, inputs[1], state)
        return state, state.hidden

    return jax.lax.scan(step, initial, (gates_x, keep), reverse=reverse)[1]


@jax.custom_jvp
def _forward_lstm(gates_x, weight, initial, keep):
    return _lstm_scan(gates_x, weight, initial, keep, reverse=False)


@jax.custom_jvp
def _backward_lstm(gates_x, weight, initial, keep):
    return _lstm_scan(gates_x, weight, initial, keep, reverse=True)


def _states_and_gates(gates_x, weight, initial, keep, reverse):
    def step(state, inputs):
        state, gates = _step(inputs[0], weight, inputs[1], state)
        return state, (state.cell, gates)

    cells, gates = jax.lax.scan(step, initial, (gates_x, keep), reverse=reverse)[1]
    out = jnp.split(gates, 4, axis=-1)[3]
    return LSTMState(out * jnp.tanh(cells), cells), gates


def _previous(states: LSTMState, initial: LSTMState, reverse: bool) -> LSTMState:
    """The state that every step started from."""
    if reverse:
        return jax.tree.map(lambda s, s0: jnp.concatenate([s[1:], s0[None]]), states, initial)
    return jax.tree.map(lambda s, s0: jnp.concatenate([s0[None], s[:-1]]), states, initial)


def _coefficients(states: LSTMState, previous: LSTMState, gates, keep):
    """What the tangents of the gates, of the last cell and of the new cell are multiplied by."""
    keep = keep[:, None]
    i, f, g, o = jnp.split(keep * gates, 4, axis=-1)
    tanh_c = jnp.tanh(states.cell)
    from_gates = (i * (1 - i) * g, f * (1 - f) * previous.cell, i * (1 - g * g))
    from_gates = jnp.concatenate([*from_gates, o * (1 - o) * tanh_c], axis=-1)
    return from_gates, f, o * (1 - tanh_c**2)


def _tangent_scan(gates_dot, weight, initial_dot, coefficients, reverse):
    # The transposed recurrence multiplies by the transposed weight: laid out before the loop.
    transposed = jax.lax.optimization_barrier(weight.T)

    def step(state, inputs):
        gates, (from_gates, from_last, from_cell) = inputs
        gates = from_gates * (gates + project(state.hidden, transposed.T))
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        cell = from_last * state.cell + i + f + g
        hidden = o + from_cell * cell
        return LSTMState(hidden, cell), hidden

    return jax.lax.scan(step, initial_dot, (gates_dot, coefficients), reverse=reverse)[1]


def _lstm_jvp(primals, tangents, reverse):
    gates_x, weight, initial, keep = primals
    gates_dot, weight_dot, initial_dot, _ = tangents
    states, gates = _states_and_gates(gates_x, weight, initial, keep, reverse)
    previous = _previous(states, initial, reverse)
    coefficients = _coefficients(states, previous, gates, keep)
    gates_dot = gates_dot + project(previous.hidden, weight_dot)
    tangent = _tangent_scan(gates_dot, weight, initial_dot, coefficients, reverse)
    return states.hidden, tangent


@_forward_lstm.defjvp
def _forward_lstm_jvp(primals, tangents):
    return _lstm_jvp(primals, tangents, reverse=False)


@_backward_lstm.defjvp
def _backward_lstm_jvp(primals, tangents):
    return _lstm_jvp(primals, tangents, reverse=True)


def lstm(
    gates_x: Float[Array, "T 4H"],
    weight: Float[Array, "H 4H"],
    initial: LSTMState,
    mask: Bool[Array, "T"],
    *,
    reverse: bool = False,
) -> Float[Array, "T H"]:
    """Hidden states of an LSTM, in the order of the inputs.

    Args:
        gates_x: the inputs' share of the gates i, f, g, o, biases included.
        weight: recurrent weight.
        initial: the state before the first step.
        mask: where it is False the state is set to zero, so that a reverse pass over a
            right-padded sequence starts afresh at its last real step. ``gates_x`` must be finite.
        reverse: run from the last step to the first.
    """
    run = _backward_lstm if reverse else _forward_lstm
    return run(gates_x, weight, initial, mask.astype(gates_x.dtype))


class LSTMCell(nnx.Module):
    """Weights of one direction of one layer, PyTorch's U(-1/sqrt(H), 1/sqrt(H)).

    There are two biases, as in PyTorch: under Adam their sum learns at twice the rate of one.
    """

    def __init__(self, in_size: int, hidden: int, *, rngs: nnx.Rngs):
        bound = hidden**-0.5
        self.input_weight = uniform(rngs, (in_size, 4 * hidden), bound)
        self.hidden_weight = uniform(rngs, (hidden, 4 * hidden), bound)
        self.input_bias = uniform(rngs, (4 * hidden,), bound)
        self.hidden_bias = uniform(rngs, (4 * hidden,), bound)

    def gates(self, inputs: Float[Array, "... I"]) -> Float[Array, "... 4H"]:
        """The inputs' share of the gates, biases included."""
        return project(inputs, self.input_weight[...]) + self.bias

    @property
    def bias(self) -> Float[Array, "4H"]:
        """The sum of both biases."""
        return self.input_bias[...] + self.hidden_bias[...]

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.hidden_weight.shape[0]


class LSTM(nnx.Module):
    """A stack of unidirectional layers over [inputs, position].

    Args:
        max_length: how many positions there are; 0 leaves the position out.
    """

    def __init__(
        self, in_size: int, hidden: int, num_layers: int, max_length: int, *, rngs: nnx.Rngs
    ):
        sizes = [in_size] + [hidden] * (num_layers - 1)
        self.cells = nnx.List([LSTMCell(size, hidden, rngs=rngs) for size in sizes])
        self.position = _gate_positions(max_length, hidden, rngs)

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.cells[0].hidden_size

    def position_gates(self, first: int, num_steps: int, length: Int[Array, ""]) -> Array:
        """The position's share of the first layer's gates from step ``first`` on, [T, 4H]."""
        if self.position is None:
            return jnp.zeros((num_steps, 4 * self.hidden_size))
        return self.position(first, num_steps, length, longest=first + num_steps)

    def __call__(
        self,
        inputs: Float[Array, "T I"],
        position_gates: Float[Array, "T 4H"],
        initial: list[LSTMState],
        dropout: Float[Array, "T L H"] | None = None,
    ) -> Float[Array, "T H"]:
        """The top layer's states. ``dropout`` multiplies each layer's output."""
        mask = jnp.ones(inputs.shape[0], bool)
        h, extra = inputs, position_gates
        for layer, (cell, state) in enumerate(zip(self.cells, initial, strict=True)):
            h = lstm(cell.gates(h) + extra, cell.hidden_weight[...], state, mask)
            h, extra = h if dropout is None else h * dropout[:, layer], 0.0
        return h

    def step(
        self,
        gates: Float[Array, "4H"],
        states: list[LSTMState],
        dropout: Float[Array, "L H"] | None = None,
    ) -> tuple[list[LSTMState], Float[Array, "H"]]:
        """One step of every layer: the new states and the top layer's output.

        Args:
            gates: the first layer's, biases included, without its state's share.
        """
        new, h = [], gates
        for layer, (cell, state) in enumerate(zip(self.cells, states, strict=True)):
            gates = cell.gates(h) if layer > 0 else gates
            new.append(lstm_step(gates, cell.hidden_weight[...], state))
            h = new[-1].hidden if dropout is None else new[-1].hidden * dropout[layer]
        return new, h


class BiLSTM(nnx.Module):
    """A stack of bidirectional layers over [inputs, position], zero initial states."""

    def __init__(
        self, in_size: int, hidden: int, num_layers: int, max_length: int, *, rngs: nnx.Rngs
    ):
        sizes = [in_size] + [2 * hidden] * (num_layers - 1)
        self.forward = nnx.List([LSTMCell(size, hidden, rngs=rngs) for size in sizes])
        self.backward = nnx.List([LSTMCell(size, hidden, rngs=rngs) for size in sizes])
        self.forward_position = _gate_positions(max_length, hidden, rngs)
        self.backward_position = _gate_positions(max_length, hidden, rngs)

    def __call__(
        self, inputs: Float[Array, "T I"], length: Int[Array, ""], mask: Bool[Array, "T"]
    ) -> tuple[Float[Array, "T H"], Float[Array, "T H"]]:
        """States of the last layer, forward and backward; zero at padded steps."""
        steps = inputs.shape[0]
        extra_f = self.forward_position(0, steps, length, longest=steps)
        extra_b = self.backward_position(0, steps, length, longest=steps)
        h, zero = inputs, zero_state(self.forward[0].hidden_size)
        for fwd, bwd in zip(self.forward, self.backward, strict=True):
            ahead = lstm(fwd.gates(h) + extra_f, fwd.hidden_weight[...], zero, mask)
            back = lstm(bwd.gates(h) + extra_b, bwd.hidden_weight[...], zero, mask, reverse=True)
            h, extra_f, extra_b = jnp.concatenate([ahead, back], -1), 0.0, 0.0
        return ahead, back


def _gate_positions(max_length: int, hidden: int, rngs: nnx.Rngs):
    if max_length == 0:
        return None
    return PositionEmbedding(max_length, 4 * hidden, bound=hidden**-0.5, rngs=rngs)
