"""The recurrence of an LSTM over sequences; batch axes come after the axis of steps.

It has a hand-written tangent (``jax.custom_jvp``). Every product in the tangent that is not
recurrent happens for all steps at once, so its transpose, which is the backward pass, computes each
weight gradient as one matrix product over all steps and examples. Being plain JAX it works under
vmap, in forward and reverse mode, and to any order.

Steps come first because a scan wants them there: under ``jax.vmap``, which puts its axis first,
every layer would transpose the gates of all steps twice.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from nlf_jax.nn.axes import aligned, varying_like
from nlf_jax.nn.linear import project

# What a state adds to the gates.
Product = Callable[[Float[Array, "*B H"]], Float[Array, "*B 4H"]]


class LSTMState(NamedTuple):
    """Hidden and cell state."""

    hidden: Float[Array, "*B H"]
    cell: Float[Array, "*B H"]


def zero_state(*shape: int) -> LSTMState:
    """The all-zero state of a shape [*B, H]."""
    return LSTMState(jnp.zeros(shape, jnp.float32), jnp.zeros(shape, jnp.float32))


def _activate(gates: Float[Array, "*B 4H"]) -> Float[Array, "*B 4H"]:
    """sigmoid(i), sigmoid(f), tanh(g), sigmoid(o), as one tanh: sigmoid(x) = (1 + tanh(x/2)) / 2.

    XLA on a CPU makes of three sigmoids and a tanh a kernel that is four times slower.
    """
    scale = np.repeat(np.array([0.5, 0.5, 1.0, 0.5], np.float32), gates.shape[-1] // 4)
    scale = aligned(scale, gates)
    return jnp.tanh(gates * scale) * scale + (1 - scale)


def lstm_step(
    gates_x: Float[Array, "*B 4H"],
    weight: Float[Array, "H 4H"],
    state: LSTMState,
    products: str = "float32",
) -> LSTMState:
    """One step: ``c' = f c + i g``, ``h' = o tanh(c')`` with gates ``gates_x + h W``.

    Args:
        gates_x: the input's share of the gates i, f, g, o, biases included.
        weight: recurrent weight.
        products: see ``project``.
    """
    return _step(gates_x, partial(project, weight=weight, products=products), 1.0, state)[0]


def _recurrent_product(weight: Float[Array, "H 4H"], state: LSTMState, products: str) -> Product:
    """``h -> h W`` for a loop over steps.

    A single row is multiplied by the weight laid out column after column: on a CPU that reads it a
    third faster, and such a loop does little else.
    """
    if state.hidden.size > weight.shape[0]:
        return partial(project, weight=weight, products=products)
    transposed = jax.lax.optimization_barrier(weight.T)
    return lambda h: project(h, transposed.T, products)


def _step(
    gates_x, product: Product, keep, state: LSTMState
) -> tuple[LSTMState, Float[Array, "*B 4H"]]:
    """The state times ``keep``, and the activated gates."""
    gates = _activate(gates_x + product(state.hidden))
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    # With the cell at zero the hidden state is zero too.
    cell = keep * (f * state.cell + i * g)
    return LSTMState(o * jnp.tanh(cell), cell), gates


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _lstm(reverse: bool, products: str, gates_x, offset, weight, initial, keep):
    product = _recurrent_product(weight, initial, products)

    def step(state, inputs):
        gates_t, offset_t, keep_t = inputs
        state, _ = _step(gates_t + offset_t, product, keep_t, state)
        return state, state.hidden

    return jax.lax.scan(step, initial, (gates_x, offset, keep), reverse=reverse)[1]


def _states_and_gates(reverse, products, gates_x, offset, weight, initial, keep):
    product = _recurrent_product(weight, initial, products)

    def step(state, inputs):
        gates_t, offset_t, keep_t = inputs
        state, gates = _step(gates_t + offset_t, product, keep_t, state)
        return state, (state.cell, gates)

    cells, gates = jax.lax.scan(step, initial, (gates_x, offset, keep), reverse=reverse)[1]
    out = jnp.split(gates, 4, axis=-1)[3]
    return LSTMState(out * jnp.tanh(cells), cells), gates


def _previous(states: LSTMState, initial: LSTMState, reverse: bool) -> LSTMState:
    """The state that every step started from."""
    if reverse:
        return jax.tree.map(lambda s, s0: jnp.concatenate([s[1:], s0[None]]), states, initial)
    return jax.tree.map(lambda s, s0: jnp.concatenate([s0[None], s[:-1]]), states, initial)


def _coefficients(gates, cell, previous_cell, keep):
    """What the tangents of the gates, of the last cell and of the new cell are multiplied by."""
    # ``keep`` is 0 or 1: it leaves i (1 - i) right, and makes every coefficient zero where it is 0.
    i, f, g, o = jnp.split(keep * gates, 4, axis=-1)
    tanh_c = jnp.tanh(cell)
    from_gates = (i * (1 - i) * g, f * (1 - f) * previous_cell, i * (1 - g * g))
    from_gates = jnp.concatenate([*from_gates, o * (1 - o) * tanh_c], axis=-1)
    return from_gates, f, o * (1 - tanh_c**2)


def _tangent_scan(gates_dot, weight, initial_dot, known, reverse, products):
    # The transposed recurrence multiplies by the transposed weight: laid out before the loop.
    transposed = jax.lax.optimization_barrier(weight.T)

    # Backward too the coefficients are made step by step, and never written for all steps.
    @partial(jax.checkpoint, prevent_cse=False)
    def step(state, inputs):
        gates, known_t = inputs
        from_gates, from_last, from_cell = _coefficients(*known_t)
        gates = from_gates * (gates + project(state.hidden, transposed.T, products))
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        cell = from_last * state.cell + i + f + g
        hidden = o + from_cell * cell
        return LSTMState(hidden, cell), hidden

    return jax.lax.scan(step, initial_dot, (gates_dot, known), reverse=reverse)[1]


@_lstm.defjvp
def _lstm_jvp(reverse, products, primals, tangents):
    _, _, weight, initial, keep = primals
    gates_dot, offset_dot, weight_dot, initial_dot, _ = tangents
    states, gates = _states_and_gates(reverse, products, *primals)
    previous = _previous(states, initial, reverse)
    # All that needs no state's tangent, at once for all steps; ``keep`` is a mask and has none.
    gates_dot = gates_dot + offset_dot + project(previous.hidden, weight_dot, products)
    known = (gates, states.cell, previous.cell, keep)
    tangent = _tangent_scan(gates_dot, weight, initial_dot, known, reverse, products)
    return states.hidden, tangent


def lstm(
    gates_x: Float[Array, "T *B 4H"],
    offset: Float[Array, "T *B 4H"],
    weight: Float[Array, "H 4H"],
    initial: LSTMState,
    mask: Bool[Array, "T *B"],
    *,
    reverse: bool = False,
    products: str = "float32",
) -> Float[Array, "T *B H"]:
    """Hidden states of an LSTM, in the order of the inputs.

    Args:
        gates_x: the inputs' share of the gates i, f, g, o.
        offset: what else adds to the gates: biases, positions. Added step by step, which saves a
            pass over all steps.
        weight: recurrent weight.
        initial: the state before the first step.
        mask: where it is False the state is set to zero, so that a reverse pass over a
            right-padded sequence starts afresh at its last real step. ``gates_x`` must be finite.
        reverse: run from the last step to the first.
        products: of the recurrence, see ``project``.

    Batch axes of offset, initial and mask may be of size 1.
    """
    shape = (*gates_x.shape[1:-1], weight.shape[0])
    initial = jax.tree.map(lambda state: jnp.broadcast_to(state, shape), initial)
    keep = mask[..., None].astype(gates_x.dtype)
    initial = varying_like(initial, gates_x, offset, weight, keep)
    return _lstm(reverse, products, gates_x, offset, weight, initial, keep)
