"""Across T: autoregressive flow with an LSTM context; its inverse order gives IAF."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nlf_jax.bijectors.base import Bijector, Inverse
from nlf_jax.nn.linear import Linear
from nlf_jax.nn.lstm import LSTM, dropout_factors
from nlf_jax.nn.position import PositionEmbedding, position_one_hot, step_mask
from nlf_jax.nn.recurrence import LSTMState


class SequenceContext(NamedTuple):
    """What a flow across T is given: the lengths of the sequences, and keys if dropout is on.

    The keys have the batch axes, or the first few of them.
    """

    length: Int[Array, "*B"]
    dropout_keys: PRNGKeyArray | None = None


class InitialState(nnx.Module):
    """The LSTM's first states from the position of step 0: lookup, ReLU, linear."""

    def __init__(self, hidden: int, num_layers: int, max_length: int, *, rngs: nnx.Rngs):
        self.hidden, self.num_layers = hidden, num_layers
        self.position = PositionEmbedding(max_length, hidden, bound=0.07, rngs=rngs)
        self.bias = nnx.Param(jnp.zeros(hidden))
        self.out = Linear(hidden, 2 * num_layers * hidden, rngs=rngs)

    def __call__(self, length: Int[Array, "*B"]) -> list[LSTMState]:
        h = self.position(0, 1, length)[0] + self.bias[...]
        states = self.out(jax.nn.relu(h)).reshape(*h.shape[:-1], self.num_layers, self.hidden, 2)
        layers = range(self.num_layers)
        return [LSTMState(states[..., k, :, 0], states[..., k, :, 1]) for k in layers]


class Recurrent(Bijector):
    """Step t is transformed by ``inner`` given an LSTM's summary of the latent steps before it.

    The inverse, latent to noise, runs the LSTM over the known latent and then transforms every step
    at once; the forward, noise to latent, is one scan. ``Inverse(Recurrent(Inverse(inner)))`` is
    the inverse autoregressive flow: the LSTM reads the noise, and the forward is the parallel
    direction. The LSTM reads z_{t-1} with the position of t (Ziegler & Rush, 2019).

    Args:
        inner: bijector of [D] given a context of size ``hidden``.
        dropout: probability, on the output of every LSTM layer and on the first context.
    """

    def __init__(
        self,
        inner: Bijector,
        size: int,
        hidden: int,
        num_layers: int,
        max_length: int,
        *,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ):
        self.inner, self.dropout = inner, dropout
        self.initial_state = InitialState(hidden, num_layers, max_length, rngs=rngs)
        self.lstm = LSTM(size, hidden, num_layers, max_length, rngs=rngs)

    def _dropout(self, context: SequenceContext, shape: tuple[int, ...]) -> Array | None:
        """Factors [L, T, *B, H] for the outputs of layers and steps; step 0: the first context's.

        Args:
            shape: of the latent, [T, *B, D].
        """
        if context.dropout_keys is None or self.dropout == 0.0:
            return None
        sizes = (len(self.lstm.cells), self.lstm.hidden_size)
        return dropout_factors(context.dropout_keys, self.dropout, shape[:-1], *sizes)

    def _start(
        self, context: SequenceContext, shape: tuple[int, ...], factors: Array | None
    ) -> tuple[list[LSTMState], Float[Array, "*B H"]]:
        """States and context of the first step."""
        sizes = (*shape[1:-1], self.lstm.hidden_size)
        states = jax.tree.map(
            lambda state: jnp.broadcast_to(state, sizes), self.initial_state(context.length)
        )
        first = states[-1].hidden
        return states, first if factors is None else first * factors[-1, 0]

    def contexts(
        self, z: Float[Array, "T *B D"], context: SequenceContext
    ) -> Float[Array, "T *B H"]:
        """The summary of z_{<t} for every step t, given all of z."""
        factors = self._dropout(context, z.shape)
        states, first = self._start(context, z.shape, factors)
        gates = self.lstm.cells[0].gates(z[:-1])
        positions = self.lstm.position_gates(1, z.shape[0] - 1, context.length)
        rest = self.lstm(gates, positions, states, None if factors is None else factors[:, 1:])
        return jnp.concatenate([first[None], rest])

    def inverse_and_log_det(self, y, context):
        """See ``Bijector``."""
        y = jnp.where(step_mask(context.length, y.shape[0])[..., None], y, 0.0)
        return jax.vmap(self.inner.inverse_and_log_det)(y, self.contexts(y, context))

    def forward_and_log_det(self, x, context):
        """See ``Bijector``."""
        x = jnp.where(step_mask(context.length, x.shape[0])[..., None], x, 0.0)
        factors = self._dropout(context, x.shape)
        start = self._start(context, x.shape, factors)
        gates = self.lstm.position_gates(1, x.shape[0], context.length)
        factors = None if factors is None else jnp.roll(jnp.swapaxes(factors, 0, 1), -1, axis=0)

        def step(carry, inputs):
            states, summary = carry
            x_t, gates_t, factors_t = inputs
            y_t, log_det = self.inner.forward_and_log_det(x_t, summary)
            gates_t += self.lstm.cells[0].gates(y_t)
            return self.lstm.step(gates_t, states, factors_t), (y_t, log_det)

        return jax.lax.scan(step, start, (x, gates, factors))[1]


def inverse_autoregressive(inner: Bijector, *args, **kwargs) -> Bijector:
    """``Recurrent`` the other way round: a step's context is a summary of the earlier noise."""
    return Inverse(Recurrent(Inverse(inner), *args, **kwargs))


class PerStep(Bijector):
    """Every step by itself, ``inner`` being given the position as one-hots [2 * max_length]."""

    def __init__(self, inner: Bijector, max_length: int):
        self.inner, self.max_length = inner, max_length

    def _apply(self, function, x, context):
        x = jnp.where(step_mask(context.length, x.shape[0])[..., None], x, 0.0)
        position = position_one_hot(context.length, x.shape[0], self.max_length)
        return jax.vmap(function)(x, position)

    def forward_and_log_det(self, x, context):
        """See ``Bijector``."""
        return self._apply(self.inner.forward_and_log_det, x, context)

    def inverse_and_log_det(self, y, context):
        """See ``Bijector``."""
        return self._apply(self.inner.inverse_and_log_det, y, context)
