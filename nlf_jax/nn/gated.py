"""Gated linear recurrence: layers whose gates don't read the state, so all steps are one scan.

minGRU (Feng et al., 2024, arXiv 2410.01201) in the block of Griffin (De et al., 2024, arXiv
2402.19427). Batch axes come after the axis of steps.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from nlf_jax.nn.axes import aligned
from nlf_jax.nn.linear import Linear, uniform
from nlf_jax.nn.lstm import Inputs, dropout_factors, of_following_steps
from nlf_jax.nn.position import PositionEmbedding

CONVOLUTION_STEPS = 4
# Biases of the gates: sigmoid(-4) forgets over some 50 steps, sigmoid(1) within one or two.
SLOWEST, FASTEST = -4.0, 1.0


class GatedState(NamedTuple):
    """What a block remembers: its recurrence's state and the last inputs of its convolution."""

    hidden: Float[Array, "*B H"]
    window: Float[Array, "W *B H"]


class GatedCarry(NamedTuple):
    """What a stack remembers, and its summary of the steps so far."""

    blocks: list[GatedState]
    summary: Float[Array, "*B H"]


def _combine(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
    """The map ``h -> a h + b`` of two stretches of steps one after the other."""
    return first[0] * second[0], second[0] * first[1] + second[1]


def _run(decay: Array, update: Array, reverse: bool) -> Array:
    return jax.lax.associative_scan(_combine, (decay, update), reverse=reverse)[1]


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def linear_recurrence(
    decay: Float[Array, "T *B H"], update: Float[Array, "T *B H"], reverse: bool = False
) -> Float[Array, "T *B H"]:
    """``h_t = decay_t h_{t-1} + update_t`` from h = 0, in a depth of log T.

    Args:
        reverse: from the last step to the first.
    """
    return _run(decay, update, reverse)


@linear_recurrence.defjvp
def _linear_recurrence_jvp(reverse, primals, tangents):
    """The tangent is the same recurrence: ``dh_t = a_t dh_{t-1} + (da_t h_{t-1} + db_t)``."""
    (decay, update), (decay_dot, update_dot) = primals, tangents
    h = linear_recurrence(decay, update, reverse)
    edge = jnp.zeros_like(h[:1])
    previous = [h[1:], edge] if reverse else [edge, h[:-1]]
    return h, _run(decay, decay_dot * jnp.concatenate(previous) + update_dot, reverse)


def sigmoid(x: Array) -> Array:
    """``1 / (1 + exp(-x))`` by tanh, which XLA computes faster on a CPU."""
    return 0.5 * jnp.tanh(0.5 * x) + 0.5


class RMSNorm(nnx.Module):
    """``x / sqrt(mean(x^2))`` times a learned scale (Zhang & Sennrich, 2019)."""

    def __init__(self, size: int):
        self.scale = nnx.Param(jnp.ones(size, jnp.float32))

    def __call__(self, x: Float[Array, "... H"]) -> Float[Array, "... H"]:
        mean_square = jnp.square(x).mean(-1, keepdims=True)
        return x * (jax.lax.rsqrt(mean_square + 1e-6) * aligned(self.scale[...], x))


class GatedBlock(nnx.Module):
    """Two residual branches: over time, then at every step.

    Over time: norm, causal depthwise convolution ``u_t = sum_k w_k x_{t-k}``, the recurrence
    ``h_t = (1 - g_t) h_{t-1} + g_t c_t`` with ``g = sigmoid(W_g u + b_g)``, ``c = W_c u + b_c``, a
    linear map. At every step: norm, a SiLU-gated layer of the same width, a linear map.
    """

    def __init__(self, hidden: int, *, products: str, rngs: nnx.Rngs):
        linear = partial(Linear, hidden, bound=(3 / hidden) ** 0.5, products=products, rngs=rngs)
        self.time_norm, self.step_norm = RMSNorm(hidden), RMSNorm(hidden)
        self.convolution = uniform(rngs, (CONVOLUTION_STEPS, hidden), CONVOLUTION_STEPS**-0.5)
        self.gates, self.time_out = linear(2 * hidden), linear(hidden)
        self.units, self.step_out = linear(2 * hidden), linear(hidden)
        spread = np.linspace(SLOWEST, FASTEST, hidden, dtype=np.float32)
        self.gates.bias[...] = jnp.concatenate(
            [jnp.asarray(spread), jnp.zeros(hidden, jnp.float32)]
        )

    def __call__(
        self,
        x: Float[Array, "T *B H"],
        mask: Float[Array, "T *B 1"] | None = None,
        dropout: Float[Array, "T *B H"] | None = None,
        *,
        reverse: bool = False,
    ) -> Float[Array, "T *B H"]:
        """All steps at once.

        Args:
            mask: 0 at steps that are as if they were not there: before the first, if ``reverse``.
            dropout: factors on what the recurrence gives.
        """
        # Masked twice: the convolution has to read zeros, and a bias alone would move the state.
        u = self.time_norm(x) if mask is None else self.time_norm(x) * mask
        gate, update = self._gate_and_update(self._convolve(u, reverse))
        h = linear_recurrence(1 - gate, update if mask is None else update * mask, reverse)
        return self._finish(x, h if dropout is None else h * dropout)

    def step(
        self, x: Float[Array, "*B H"], state: GatedState, dropout: Float[Array, "*B H"] | None
    ) -> tuple[GatedState, Float[Array, "*B H"]]:
        """One step: the new state, and what goes to the next block."""
        window = jnp.concatenate([self.time_norm(x)[None], state.window])
        weights = self.convolution[...].reshape(len(window), *[1] * (x.ndim - 1), -1)
        gate, update = self._gate_and_update((weights * window).sum(0))
        h = (1 - gate) * state.hidden + update
        return GatedState(h, window[:-1]), self._finish(x, h if dropout is None else h * dropout)

    def _convolve(self, u: Array, reverse: bool) -> Array:
        num_steps, before = u.shape[0], CONVOLUTION_STEPS - 1
        ends = (0, before) if reverse else (before, 0)
        padded = jnp.pad(u, [ends] + [(0, 0)] * (u.ndim - 1))
        total = jnp.zeros_like(u)
        for k, weight in enumerate(self.convolution[...]):
            first = k if reverse else before - k
            total += aligned(weight, u) * padded[first : first + num_steps]
        return total

    def _gate_and_update(self, u: Array) -> tuple[Array, Array]:
        gate, candidate = jnp.split(self.gates(u), 2, axis=-1)
        gate = sigmoid(gate)
        return gate, gate * candidate

    def _finish(self, x: Array, h: Array) -> Array:
        x = x + self.time_out(h)
        left, right = jnp.split(self.units(self.step_norm(x)), 2, axis=-1)
        return x + self.step_out(left * sigmoid(left) * right)


class GatedStack(nnx.Module):
    """Blocks over [inputs, position]; causal: the summary before step t has read the steps < t.

    A ``Summariser``. What it reads at step t is the input of t - 1, nothing at the first one, and
    the position of t. ``products``: see ``project``.
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
        bound = (3 / in_size) ** 0.5
        self.first = Linear(in_size, hidden, bound=bound, products=products, rngs=rngs)
        self.position = PositionEmbedding(max_length, hidden, bound=0.1, rngs=rngs)
        make = partial(GatedBlock, hidden, products=products, rngs=rngs)
        self.blocks = nnx.List([make() for _ in range(num_layers)])
        self.norm = RMSNorm(hidden)

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.norm.scale.shape[0]

    def inputs(self, x: Float[Array, "... I"]) -> Float[Array, "... H"]:
        """See ``Summariser``."""
        return self.first.product(x)

    def summaries(
        self,
        inputs: Float[Array, "T-1 *B H"],
        length: Int[Array, "*B"],
        dropout_keys: PRNGKeyArray | None = None,
        rate: float = 0.0,
    ) -> Float[Array, "T *B H"]:
        """See ``Summariser``."""
        shape = (inputs.shape[0] + 1, *inputs.shape[1:])
        shifted = jnp.pad(inputs, [(1, 0)] + [(0, 0)] * (inputs.ndim - 1))
        factors = self._factors(dropout_keys, rate, shape[:-1])
        return self.run(shifted + self._positions(0, shape[0], length), factors)

    def run(
        self,
        x: Float[Array, "T *B H"],
        dropout: Float[Array, "L T *B H"] | None = None,
        mask: Bool[Array, "T *B"] | None = None,
        *,
        reverse: bool = False,
    ) -> Float[Array, "T *B H"]:
        """What the last block gives, normed; for the rest see ``GatedBlock``."""
        keep = None if mask is None else mask[..., None].astype(x.dtype)
        for index, block in enumerate(self.blocks):
            x = block(x, keep, None if dropout is None else dropout[index], reverse=reverse)
        return self.norm(x)

    def start(
        self,
        length: Int[Array, "*B"],
        shape: tuple[int, ...],
        dropout_keys: PRNGKeyArray | None = None,
        rate: float = 0.0,
    ) -> tuple[GatedCarry, tuple[Array, Array | None]]:
        """See ``Summariser``."""
        factors = self._factors(dropout_keys, rate, shape)
        # One position more than steps: the last ``advance`` takes one too, for a summary unused.
        positions = self._positions(0, shape[0] + 1, length)
        zeros = jnp.zeros((*shape[1:], self.hidden_size), jnp.float32)
        window = jnp.zeros((CONVOLUTION_STEPS - 1, *zeros.shape), jnp.float32)
        carry = GatedCarry([GatedState(zeros, window) for _ in self.blocks], zeros)
        carry = self._step(carry, zeros + positions[0], None if factors is None else factors[:, 0])
        return carry, (positions[1:], of_following_steps(factors))

    def advance(
        self, carry: GatedCarry, inputs: Float[Array, "*B H"], per_step: tuple[Array, Array | None]
    ) -> GatedCarry:
        """See ``Summariser``."""
        positions, factors = per_step
        return self._step(carry, inputs + positions, factors)

    def _step(self, carry: GatedCarry, x: Array, factors: Array | None) -> GatedCarry:
        states = []
        for index, (block, state) in enumerate(zip(self.blocks, carry.blocks, strict=True)):
            state, x = block.step(x, state, None if factors is None else factors[index])
            states.append(state)
        return GatedCarry(states, self.norm(x))

    def _positions(self, first: int, num_steps: int, length: Array) -> Array:
        positions = self.position(first, num_steps, length)
        return positions + aligned(self.first.bias[...], positions)

    def _factors(self, keys: PRNGKeyArray | None, rate: float, shape: tuple[int, ...]):
        if keys is None or rate == 0.0:
            return None
        return dropout_factors(keys, rate, shape, len(self.blocks), self.hidden_size)


class BiGated(nnx.Module):
    """Two stacks of gated blocks over [inputs, position], one in each direction; see ``BiLSTM``."""

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
        sizes = (in_size, hidden, num_layers, max_length)
        self.forward = GatedStack(*sizes, products=products, rngs=rngs)
        self.backward = GatedStack(*sizes, products=products, rngs=rngs)

    def __call__(
        self, inputs: Inputs, length: Int[Array, "*B"], mask: Bool[Array, "T *B"]
    ) -> tuple[Float[Array, "T *B H"], Float[Array, "T *B H"]]:
        """States of the last layer, forward and backward; zero at padded steps."""
        states = []
        for stack, reverse in ((self.forward, False), (self.backward, True)):
            x = inputs(stack.inputs) + stack._positions(0, len(mask), length)
            states.append(jnp.where(mask[..., None], stack.run(x, mask=mask, reverse=reverse), 0.0))
        return states[0], states[1]
