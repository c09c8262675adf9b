"""What sums up the steps before each step: the interface, and the LSTM behind it."""

from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nlf_jax.nn.axes import aligned
from nlf_jax.nn.gated import GatedStack
from nlf_jax.nn.linear import Linear
from nlf_jax.nn.lstm import LSTM, dropout_factors, of_following_steps
from nlf_jax.nn.position import PositionEmbedding
from nlf_jax.nn.recurrence import LSTMState


class Summariser(Protocol):
    """A causal network: a summary of the steps < t for every step t, all at once or in order.

    A carry has the attribute ``summary``, [*B, H], of the steps read so far.
    """

    @property
    def hidden_size(self) -> int:
        """H."""
        ...

    def inputs(self, x: Float[Array, "... I"]) -> Float[Array, "... F"]:
        """A linear map of what a step has to read, to be done once for a table of symbols."""
        ...

    def summaries(
        self,
        inputs: Float[Array, "T-1 *B F"],
        length: Int[Array, "*B"],
        dropout_keys: PRNGKeyArray | None = None,
        rate: float = 0.0,
    ) -> Float[Array, "T *B H"]:
        """Of every step, given the ``inputs`` of all but the last one.

        Args:
            dropout_keys: for the batch axes, or the first few of them; None is no dropout.
            rate: of dropout.
        """
        ...

    def start(
        self,
        length: Int[Array, "*B"],
        shape: tuple[int, ...],
        dropout_keys: PRNGKeyArray | None = None,
        rate: float = 0.0,
    ) -> tuple[Any, Any]:
        """The carry before the first step, and what to hand to ``advance`` at each step, [T, ..].

        Args:
            shape: [T, *B].
        """
        ...

    def advance(self, carry: Any, inputs: Float[Array, "*B F"], per_step: Any) -> Any:
        """The carry after a step whose ``inputs`` have become known."""
        ...


class InitialState(nnx.Module):
    """The LSTM's first states from the position of step 0: lookup, ReLU, linear."""

    def __init__(self, hidden: int, num_layers: int, max_length: int, *, rngs: nnx.Rngs):
        self.hidden, self.num_layers = hidden, num_layers
        self.position = PositionEmbedding(max_length, hidden, bound=0.07, rngs=rngs)
        self.bias = nnx.Param(jnp.zeros(hidden, jnp.float32))
        self.out = Linear(hidden, 2 * num_layers * hidden, rngs=rngs)

    def __call__(self, length: Int[Array, "*B"]) -> list[LSTMState]:
        h = self.position(0, 1, length)[0]
        h += aligned(self.bias[...], h)
        states = self.out(jax.nn.relu(h)).reshape(*h.shape[:-1], self.num_layers, self.hidden, 2)
        layers = range(self.num_layers)
        return [LSTMState(states[..., k, :, 0], states[..., k, :, 1]) for k in layers]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LSTMCarry:
    """States of every layer, and the summary of the steps so far."""

    states: list[LSTMState]
    summary: Float[Array, "*B H"]


@dataclass(frozen=True)
class LSTMSummariser:
    """An LSTM that reads the input of t - 1 with the position of t (Ziegler & Rush, 2019).

    The first summary is the top layer's first hidden state, with dropout, or zero where the states
    start at zero.
    """

    lstm: LSTM
    initial_state: InitialState | None = None

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.lstm.hidden_size

    def inputs(self, x: Float[Array, "... I"]) -> Float[Array, "... 4H"]:
        """See ``Summariser``."""
        return self.lstm.cells[0].gates(x)

    def summaries(
        self,
        inputs: Float[Array, "T-1 *B 4H"],
        length: Int[Array, "*B"],
        dropout_keys: PRNGKeyArray | None = None,
        rate: float = 0.0,
    ) -> Float[Array, "T *B H"]:
        """See ``Summariser``."""
        shape = (inputs.shape[0] + 1, *inputs.shape[1:-1])
        factors = self._factors(dropout_keys, rate, shape)
        carry = self._first(length, shape, factors)
        positions = self.lstm.position_gates(1, inputs.shape[0], length)
        later = None if factors is None else factors[:, 1:]
        rest = self.lstm(inputs, positions, carry.states, later)
        return jnp.concatenate([carry.summary[None], rest])

    def start(
        self,
        length: Int[Array, "*B"],
        shape: tuple[int, ...],
        dropout_keys: PRNGKeyArray | None = None,
        rate: float = 0.0,
    ) -> tuple[LSTMCarry, tuple[Array, Array | None]]:
        """See ``Summariser``."""
        factors = self._factors(dropout_keys, rate, shape)
        carry = self._first(length, shape, factors)
        positions = self.lstm.position_gates(1, shape[0], length)
        return carry, (positions, of_following_steps(factors))

    def advance(
        self, carry: LSTMCarry, inputs: Float[Array, "*B 4H"], per_step: tuple[Array, Array | None]
    ) -> LSTMCarry:
        """See ``Summariser``."""
        positions, factors = per_step
        return LSTMCarry(*self.lstm.step(inputs + positions, carry.states, factors))

    def _first(self, length: Array, shape: tuple[int, ...], factors: Array | None) -> LSTMCarry:
        sizes = (*shape[1:], self.hidden_size)
        if self.initial_state is None:
            zeros = jnp.zeros(sizes, jnp.float32)
            return LSTMCarry([LSTMState(zeros, zeros) for _ in self.lstm.cells], zeros)
        broadcast = lambda state: jnp.broadcast_to(state, sizes)  # noqa: E731
        states = jax.tree.map(broadcast, self.initial_state(length))
        first = states[-1].hidden
        return LSTMCarry(states, first if factors is None else first * factors[-1, 0])

    def _factors(self, keys: PRNGKeyArray | None, rate: float, shape: tuple[int, ...]):
        """Factors [L, T, *B, H] for the outputs of layers and steps; step 0: the first summary's.

        A summary that starts at zero needs none.
        """
        if keys is None or rate == 0.0:
            return None
        unused = int(self.initial_state is None)
        steps = (shape[0] - unused, *shape[1:])
        factors = dropout_factors(keys, rate, steps, len(self.lstm.cells), self.hidden_size)
        return jnp.pad(factors, [(0, 0), (unused, 0)] + [(0, 0)] * (factors.ndim - 2))


def summariser_of(module: Any) -> Summariser:
    """Of a module that has a ``gated``, or else an ``lstm`` and perhaps an ``initial_state``."""
    gated: GatedStack | None = getattr(module, "gated", None)
    if gated is not None:
        return gated
    return LSTMSummariser(module.lstm, getattr(module, "initial_state", None))
