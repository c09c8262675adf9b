"""Across T: autoregressive flow with an LSTM context; its inverse order gives IAF."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nlf_jax.bijectors.base import Bijector, Inverse
from nlf_jax.nn.linear import Linear
from nlf_jax.nn.lstm import LSTM, LSTMState
from nlf_jax.nn.position import PositionEmbedding, position_one_hot, step_mask


class SequenceContext(NamedTuple):
    """What a flow across T is given: the length of the sequence, and a key if dropout is on."""

    length: Int[Array, ""]
    dropout_key: PRNGKeyArray | None = None


class InitialState(nnx.Module):
    """The LSTM's first states from the position of step 0: lookup, ReLU, linear."""

    def __init__(self, hidden: int, num_layers: int, max_length: int, *, rngs: nnx.Rngs):
        self.hidden, self.num_layers = hidden, num_layers
        self.position = PositionEmbedding(max_length, hidden, bound=0.07, rngs=rngs)
        self.bias = nnx.Param(jnp.zeros(hidden))
        self.out = Linear(hidden, 2 * num_layers * hidden, rngs=rngs)

    def __call__(self, length: Int[Array, ""]) -> list[LSTMState]:
        h = self.position(0, 1, length)[0] + self.bias[...]
        states = self.out(jax.nn.relu(h)).reshape(self.num_layers, self.hidden, 2)
        return [LSTMState(state[:, 0], state[:, 1]) for state in states]


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

    def _dropout(self, key: PRNGKeyArray | None, num_steps: int) -> Float[Array, "T L H"] | None:
        """Factors for the outputs of every step and layer; step 0: the first context's."""
        if key is None or self.dropout == 0.0:
            return None
        shape = (num_steps, len(self.lstm.cells), self.lstm.hidden_size)
        keep = jax.random.bernoulli(key, 1.0 - self.dropout, shape)
        return keep / (1.0 - self.dropout)

    def contexts(self, z: Float[Array, "T D"], context: SequenceContext) -> Float[Array, "T H"]:
        """The summary of z_{<t} for every step t, given all of z."""
        num_steps = z.shape[0]
        factors = self._dropout(context.dropout_key, num_steps)
        states = self.initial_state(context.length)
        gates = self.lstm.position_gates(1, num_steps - 1, context.length)
        rest = None if factors is None else factors[1:]
        first = states[-1].hidden if factors is None else states[-1].hidden * factors[0, -1]
        return jnp.concatenate([first[None], self.lstm(z[:-1], gates, states, rest)])

    def inverse_and_log_det(self, y, context):
        """See ``Bijector``."""
        y = jnp.where(step_mask(context.length, y.shape[0])[:, None], y, 0.0)
        return jax.vmap(self.inner.inverse_and_log_det)(y, self.contexts(y, context))

    def forward_and_log_det(self, x, context):
        """See ``Bijector``."""
        num_steps = x.shape[0]
        x = jnp.where(step_mask(context.length, num_steps)[:, None], x, 0.0)
        factors = self._dropout(context.dropout_key, num_steps)
        states = self.initial_state(context.length)
        gates = self.lstm.position_gates(1, num_steps, context.length)
        summary = states[-1].hidden if factors is None else states[-1].hidden * factors[0, -1]
        factors = None if factors is None else jnp.roll(factors, -1, axis=0)

        def step(carry, inputs):
            states, summary = carry
            x_t, gates_t, factors_t = inputs
            y_t, log_det = self.inner.forward_and_log_det(x_t, summary)
            gates_t += self.lstm.cells[0].gates(y_t)
            return self.lstm.step(gates_t, states, factors_t), (y_t, log_det)

        return jax.lax.scan(step, (states, summary), (x, gates, factors))[1]


def inverse_autoregressive(inner: Bijector, *args, **kwargs) -> Bijector:
    """``Recurrent`` the other way round: a step's context is a summary of the earlier noise."""
    return Inverse(Recurrent(Inverse(inner), *args, **kwargs))


class PerStep(Bijector):
    """Every step by itself, ``inner`` being given the position as one-hots [2 * max_length]."""

    def __init__(self, inner: Bijector, max_length: int):
        self.inner, self.max_length = inner, max_length

    def _apply(self, function, x, context):
        x = jnp.where(step_mask(context.length, x.shape[0])[:, None], x, 0.0)
        return jax.vmap(function)(x, position_one_hot(context.length, x.shape[0], self.max_length))

    def forward_and_log_det(self, x, context):
        """See ``Bijector``."""
        return self._apply(self.inner.forward_and_log_det, x, context)

    def inverse_and_log_det(self, y, context):
        """See ``Bijector``."""
        return self._apply(self.inner.inverse_and_log_det, y, context)
