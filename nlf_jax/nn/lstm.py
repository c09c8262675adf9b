"""LSTM layers; batch axes come after the axis of steps."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from nlf_jax.nn.axes import aligned
from nlf_jax.nn.linear import project, uniform
from nlf_jax.nn.position import PositionEmbedding
from nlf_jax.nn.recurrence import LSTMState, lstm, lstm_step, zero_state

# The gates [T, *B, 4H] of all steps' inputs, given the function that makes gates of inputs.
Inputs = Callable[[Callable[[Array], Array]], Array]


class LSTMCell(nnx.Module):
    """Weights of one direction of one layer, PyTorch's U(-1/sqrt(H), 1/sqrt(H)).

    There are two biases, as in PyTorch: under Adam their sum learns at twice the rate of one.
    ``products``, here and in the other classes: see ``project``.
    """

    def __init__(self, in_size: int, hidden: int, *, products: str = "float32", rngs: nnx.Rngs):
        bound, self.products = hidden**-0.5, products
        self.input_weight = uniform(rngs, (in_size, 4 * hidden), bound)
        self.hidden_weight = uniform(rngs, (hidden, 4 * hidden), bound)
        self.input_bias = uniform(rngs, (4 * hidden,), bound)
        self.hidden_bias = uniform(rngs, (4 * hidden,), bound)

    def __call__(
        self,
        gates_x: Float[Array, "T *B 4H"],
        offset: Float[Array, "T *B 4H"],
        initial: LSTMState,
        mask: Bool[Array, "T *B"],
        *,
        reverse: bool = False,
    ) -> Float[Array, "T *B H"]:
        """See ``lstm``."""
        run = partial(lstm, reverse=reverse, products=self.products)
        return run(gates_x, offset, self.hidden_weight[...], initial, mask)

    def step(self, gates: Float[Array, "*B 4H"], state: LSTMState) -> LSTMState:
        """See ``lstm_step``."""
        return lstm_step(gates, self.hidden_weight[...], state, self.products)

    def gates(self, inputs: Float[Array, "... I"]) -> Float[Array, "... 4H"]:
        """The inputs' share of the gates."""
        return project(inputs, self.input_weight[...], self.products)

    def biases(self, gates_x: Float[Array, "T *B 4H"]) -> Float[Array, "T *B 4H"]:
        """The bias as the offset of such gates."""
        shape = (gates_x.shape[0], *[1] * (gates_x.ndim - 2), self.bias.size)
        return jnp.broadcast_to(self.bias, shape)

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
        self,
        in_size: int,
        hidden: int,
        num_layers: int,
        max_length: int,
        *,
        products: str = "float32",
        rngs: nnx.Rngs,
    ):
        sizes = [in_size] + [hidden] * (num_layers - 1)
        make = partial(LSTMCell, hidden=hidden, products=products, rngs=rngs)
        self.cells = nnx.List([make(size) for size in sizes])
        self.position = _gate_positions(max_length, hidden, rngs)

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.cells[0].hidden_size

    def position_gates(
        self, first: int, num_steps: int, length: Int[Array, "*B"]
    ) -> Float[Array, "T *B 4H"]:
        """The first layer's biases and positions, for the steps from ``first`` on."""
        longest = first + num_steps
        return _position_gates(self.cells[0], self.position, first, num_steps, length, longest)

    def __call__(
        self,
        gates: Float[Array, "T *B 4H"],
        position_gates: Float[Array, "T *B 4H"],
        initial: list[LSTMState],
        dropout: Float[Array, "L T *B H"] | None = None,
    ) -> Float[Array, "T *B H"]:
        """The top layer's states.

        Args:
            gates: the inputs' share of the first layer's.
            initial: of every layer.
            dropout: factors on each layer's output.
        """
        mask, offset = jnp.ones((gates.shape[0], *[1] * (gates.ndim - 2)), bool), position_gates
        for layer, (cell, state) in enumerate(zip(self.cells, initial, strict=True)):
            if layer > 0:
                gates = cell.gates(h)
                offset = cell.biases(gates)
            h = cell(gates, offset, state, mask)
            h = h if dropout is None else h * dropout[layer]
        return h

    def step(
        self,
        gates: Float[Array, "*B 4H"],
        states: list[LSTMState],
        dropout: Float[Array, "L *B H"] | None = None,
    ) -> tuple[list[LSTMState], Float[Array, "*B H"]]:
        """One step of every layer: the new states and the top layer's output.

        Args:
            gates: the first layer's, without its state's share.
        """
        new, h = [], gates
        for layer, (cell, state) in enumerate(zip(self.cells, states, strict=True)):
            gates = gates if layer == 0 else cell.gates(h) + aligned(cell.bias, h)
            new.append(cell.step(gates, state))
            h = new[-1].hidden if dropout is None else new[-1].hidden * dropout[layer]
        return new, h


def dropout_factors(
    keys: PRNGKeyArray, rate: float, shape: tuple[int, ...], num_layers: int, hidden: int
) -> Float[Array, "L T *B H"]:
    """0 with probability ``rate``, else ``1 / (1 - rate)``.

    Args:
        keys: for the batch axes, or the first few of them.
        shape: [T, *B].
    """
    sizes = (*shape[1 + keys.ndim :], shape[0], num_layers, hidden)
    draw = partial(jax.random.bernoulli, p=1.0 - rate, shape=sizes)
    for _ in range(keys.ndim):
        draw = jax.vmap(draw)
    kept = jnp.moveaxis(draw(keys), (-2, -3), (0, 1))
    return kept.astype(jnp.float32) / (1.0 - rate)


def of_following_steps(
    factors: Float[Array, "L T *B H"] | None,
) -> Float[Array, "T L *B H"] | None:
    """Of every step the factors of the one after it; the last one's are not to be used."""
    return None if factors is None else jnp.roll(jnp.swapaxes(factors, 0, 1), -1, axis=0)


class BiLSTM(nnx.Module):
    """A stack of bidirectional layers over [inputs, position], zero initial states."""

    def __init__(
        self,
        in_size: int,
        hidden: int,
        num_layers: int,
        max_length: int,
        *,
        products: str = "float32",
        rngs: nnx.Rngs,
    ):
        sizes = [in_size] + [2 * hidden] * (num_layers - 1)
        make = partial(LSTMCell, hidden=hidden, products=products, rngs=rngs)
        self.forward = nnx.List([make(size) for size in sizes])
        self.backward = nnx.List([make(size) for size in sizes])
        self.forward_position = _gate_positions(max_length, hidden, rngs)
        self.backward_position = _gate_positions(max_length, hidden, rngs)

    def __call__(
        self, inputs: Inputs, length: Int[Array, "*B"], mask: Bool[Array, "T *B"]
    ) -> tuple[Float[Array, "T *B H"], Float[Array, "T *B H"]]:
        """States of the last layer, forward and backward; zero at padded steps."""
        positions = (self.forward_position, self.backward_position)
        layers = list(zip(self.forward, self.backward, strict=True))
        gates = [inputs(cell.gates) for cell in layers[0]]
        offsets = [
            _position_gates(cell, position, 0, len(mask), length, len(mask))
            for cell, position in zip(layers[0], positions, strict=True)
        ]
        states = _both_directions(layers[0], gates, offsets, mask)
        for cells in layers[1:]:
            h = jnp.concatenate(states, -1)
            gates = [cell.gates(h) for cell in cells]
            offsets = [cell.biases(gates[0]) for cell in cells]
            states = _both_directions(cells, gates, offsets, mask)
        return states


def _both_directions(cells, gates, offsets, mask) -> tuple[Array, Array]:
    zero = zero_state(cells[0].hidden_size)
    ahead = cells[0](gates[0], offsets[0], zero, mask)
    return ahead, cells[1](gates[1], offsets[1], zero, mask, reverse=True)


def _gate_positions(max_length: int, hidden: int, rngs: nnx.Rngs):
    if max_length == 0:
        return None
    return PositionEmbedding(max_length, 4 * hidden, bound=hidden**-0.5, rngs=rngs)


def _position_gates(cell: LSTMCell, position, first, num_steps, length, longest) -> Array:
    if position is None:
        return jnp.broadcast_to(cell.bias, (num_steps, *jnp.shape(length), cell.bias.size))
    gates = position(first, num_steps, length, longest=longest)
    return gates + aligned(cell.bias, gates)
