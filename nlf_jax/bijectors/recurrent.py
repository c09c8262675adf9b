"""Across T: autoregressive flow with a recurrent context; its inverse order gives IAF."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nlf_jax.bijectors.base import Bijector, Chain, Inverse
from nlf_jax.nn.axes import varying_like
from nlf_jax.nn.gated import GatedStack
from nlf_jax.nn.keys import split_each
from nlf_jax.nn.lstm import LSTM
from nlf_jax.nn.position import position_one_hot, step_mask
from nlf_jax.nn.summary import InitialState, Summariser, summariser_of


class SequenceContext(NamedTuple):
    """What a flow across T is given: the lengths of the sequences, and keys if dropout is on.

    The keys have the batch axes, or the first few of them. Temperatures, one a step, divide the
    scores of a flow that has such, see ``codebook``; the others have it in their noise.
    """

    length: Int[Array, "*B"]
    dropout_keys: PRNGKeyArray | None = None
    temperatures: Float[Array, "T"] | None = None


class TimeAutoregressive(Bijector):
    """Step t is transformed by a flow across D given a summary of the latent steps before it.

    ``y_t = f(x_t; c_t)``, ``c_t`` a function of ``y_{<t}`` and the length; ``log_det_t`` is f's,
    ``log |det dy_t/dx_t|``. The Jacobian across T is block triangular, so that they add up.

    The inverse, latent to noise, sums up the known latent and then transforms every step at once;
    the forward, noise to latent, is one scan. A subclass says what is read, and what the flow is
    and is given.
    """

    dropout: float

    @property
    def flow(self) -> Bijector:
        """The flow across D."""
        raise NotImplementedError

    @property
    def summariser(self) -> Summariser:
        """What sums up the earlier steps."""
        return summariser_of(self)

    def inputs(self, z: Float[Array, "... D"]) -> Float[Array, "... F"]:
        """What the summariser reads of latent steps."""
        return self.summariser.inputs(z)

    def flow_context(self, summary: Float[Array, "... H"], temperature: Array | None) -> Any:
        """What the flow is given; the temperature broadcasts against the summary."""
        del temperature
        return summary

    def contexts(self, z: Float[Array, "T *B D"], context: SequenceContext) -> Any:
        """What the flow is given at every step, from all of z."""
        summaries = self.summariser.summaries(
            self.inputs(z[:-1]), context.length, context.dropout_keys, self.dropout
        )
        temperatures = context.temperatures
        if temperatures is not None:
            temperatures = jnp.expand_dims(temperatures, range(1, summaries.ndim))
        return self.flow_context(summaries, temperatures)

    def inverse_and_log_det(self, y, context):
        """See ``Bijector``."""
        y = jnp.where(step_mask(context.length, y.shape[0])[..., None], y, 0.0)
        return jax.vmap(self.flow.inverse_and_log_det)(y, self.contexts(y, context))

    def forward_and_log_det(self, x, context):
        """See ``Bijector``."""
        x = jnp.where(step_mask(context.length, x.shape[0])[..., None], x, 0.0)
        keys, network, flow = context.dropout_keys, self.summariser, self.flow
        start, per_step = network.start(context.length, x.shape[:-1], keys, self.dropout)

        def step(carry, inputs):
            x_t, temperature, of_step = inputs
            flow_context = self.flow_context(carry.summary, temperature)
            y_t, log_det = flow.forward_and_log_det(x_t, flow_context)
            return network.advance(carry, self.inputs(y_t), of_step), (y_t, log_det)

        steps = (x, context.temperatures, per_step)
        return jax.lax.scan(step, varying_like(start, steps, self), steps)[1]


class Recurrent(TimeAutoregressive):
    """``inner`` is given a summary by an LSTM or a gated recurrence that reads z.

    ``y_t = inner(x_t; c_t)``, ``c_t = summary(y_{<t})``, with log_det of step t that of inner; with
    an LSTM it is that of Ziegler & Rush (2019). For the network to read the noise see
    ``inverse_autoregressive``.

    Args:
        inner: bijector of [D] given a context of size ``hidden``.
        recurrence: ``lstm`` or ``gated``.
        dropout: probability, on the output of every layer and on the first context.
    """

    def __init__(
        self,
        inner: Bijector,
        size: int,
        hidden: int,
        num_layers: int,
        max_length: int,
        *,
        recurrence: str = "lstm",
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ):
        self.inner, self.dropout = inner, dropout
        if recurrence == "gated":
            self.gated = GatedStack(size, hidden, num_layers, max_length, rngs=rngs)
        else:
            self.initial_state = InitialState(hidden, num_layers, max_length, rngs=rngs)
            self.lstm = LSTM(size, hidden, num_layers, max_length, rngs=rngs)

    @property
    def flow(self) -> Bijector:
        """See ``TimeAutoregressive``."""
        return self.inner


def inverse_autoregressive(inner: Bijector, *args, **kwargs) -> Bijector:
    """``Recurrent`` the other way round: a step's context is a summary of the earlier noise.

    ``y_t = inner(x_t; c_t)``, ``c_t = summary(x_{<t})``, with log_det of step t that of inner: the
    inverse autoregressive flow (Kingma et al., 2016), whose forward is the parallel direction.
    """
    return Inverse(Recurrent(Inverse(inner), *args, **kwargs))


class TimeChain(Chain):
    """A ``Chain`` of flows across T, each with dropout masks of its own."""

    def contexts(self, context: SequenceContext) -> list[SequenceContext]:
        """See ``Chain``; one flow alone takes the keys as they are."""
        num, keys = len(self.bijectors), context.dropout_keys
        if keys is None or num == 1:
            return [context] * num
        return [context._replace(dropout_keys=own) for own in split_each(keys, num)]


class PerStep(Bijector):
    """Every step by itself, ``inner`` being given the position as one-hots [2 * max_length].

    ``y_t = inner(x_t; position_t)``, with log_det of step t that of inner.
    """

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
