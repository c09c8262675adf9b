"""The baseline: an LSTM language model of sequences, given their lengths."""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nlf_jax.models.config import ModelConfig
from nlf_jax.models.emissions import Scores, choose
from nlf_jax.models.latent_flow import Terms
from nlf_jax.models.outputs import create_output, emission_of
from nlf_jax.nn.linear import uniform
from nlf_jax.nn.lstm import LSTM, dropout_factors
from nlf_jax.nn.position import step_mask
from nlf_jax.nn.recurrence import LSTMState, zero_state


class LSTMLanguageModel(nnx.Module):
    """p(x) as a product of p(x_t | x_{<t}, T); arrays as for ``LatentFlow``.

    The state before step t has read x_{t-1} with the position of t; the first symbol's scores are
    those of a zero state and don't know the length (as in the authors' code).
    """

    def __init__(self, config: ModelConfig, num_symbols: int, max_length: int, *, rngs: nnx.Rngs):
        self.config, self.max_length = config, max_length
        bound = (6.0 / (num_symbols + config.embedding)) ** 0.5
        self.embedding = uniform(rngs, (num_symbols, config.embedding), bound)
        sizes = (config.embedding, config.hidden, config.lstm_layers, max_length)
        self.lstm = LSTM(*sizes, products=config.products, rngs=rngs)
        self.out = create_output(config, config.hidden, config.embedding, num_symbols, rngs)

    @property
    def emission(self):
        """The family of p(x_t | x_{<t})."""
        return emission_of(self.config, self.out)

    def _zero_states(self, *batch: int) -> list[LSTMState]:
        return [zero_state(*batch, self.config.hidden)] * self.config.lstm_layers

    def scores(
        self, x: Array, length: Int[Array, "*B"], dropout_keys: PRNGKeyArray | None = None
    ) -> Scores:
        """Scores of every symbol given the ones before it, [T, *B, ..]."""
        mask = step_mask(length, x.shape[0])
        x = self.emission.hide(x, mask)
        gates = self.emission.embed(self._symbol_gates(), x[:-1])
        positions = self.lstm.position_gates(1, x.shape[0] - 1, length)
        config, factors = self.config, None
        if dropout_keys is not None and config.dropout > 0.0:
            sizes = (config.lstm_layers, config.hidden)
            factors = dropout_factors(dropout_keys, config.dropout, mask[1:].shape, *sizes)
        states = self.lstm(gates, positions, self._zero_states(), factors)
        states = jnp.concatenate([jnp.zeros((1, *states.shape[1:])), states])
        return self.out(states, self.embedding[...])

    def log_prob(
        self, x: Array, length: Int[Array, "*B"], dropout_keys: PRNGKeyArray | None = None
    ) -> Float[Array, "T *B"]:
        """log p(x_t | x_{<t}, T); meaningless at padded steps."""
        mask = step_mask(length, x.shape[0])
        return self.emission.log_prob(
            self.scores(x, length, dropout_keys), self.emission.hide(x, mask)
        )

    def terms(
        self,
        x: Array,
        lengths: Int[Array, "B"],
        keys: PRNGKeyArray,
        *,
        num_samples: int = 1,
        train: bool = False,
    ) -> Terms:
        """The exact log-likelihood as the reconstruction, S = 1 whatever is asked, and no KL."""
        del num_samples
        steps = self.log_prob(jnp.swapaxes(x, 0, 1), lengths, keys if train else None)
        total = jnp.where(step_mask(lengths, x.shape[1]), steps, 0.0).sum(0)
        return Terms(total[:, None], jnp.zeros((lengths.shape[0], 1)))

    def generate(
        self,
        lengths: Int[Array, "N"],
        num_steps: int,
        keys: PRNGKeyArray,
        temperature: Float[Array, ""],
        greedy: bool,
    ) -> Array:
        """Draw N sequences symbol by symbol: [N, num_steps, ..], arbitrary past the end.

        Args:
            keys: [N], one for each sequence.
            temperature: divisor of the scores.
            greedy: take the most probable symbol instead of drawing one.
        """
        gates = self.lstm.position_gates(1, num_steps, lengths)
        return self._write(self._start(*lengths.shape), gates, keys, temperature, greedy)

    def continuation(
        self,
        opening: Array,
        lengths: Int[Array, "N"],
        num_steps: int,
        keys: PRNGKeyArray,
        temperature: Float[Array, ""],
        greedy: bool,
    ) -> tuple[Array, Float[Array, "N"]]:
        """Go on with an opening of k symbols; arguments: see ``generate``.

        Returns:
            The sequences, [N, num_steps, ..], and log p(opening | length), nats.
        """
        num_known, advance = opening.shape[0], self._advancer()
        gates = self.lstm.position_gates(1, num_steps, lengths)
        shape = (num_known, *lengths.shape, *opening.shape[1:])
        opening = jnp.broadcast_to(opening[:, None], shape)

        def read(carry, inputs):
            x_t, gates_t = inputs
            log_prob = self.emission.log_prob(self._next_scores(carry), x_t)
            return advance(carry, x_t, gates_t), log_prob

        start = self._start(*lengths.shape)
        carry, log_probs = jax.lax.scan(read, start, (opening, gates[:num_known]))
        rest = self._write(carry, gates[num_known:], keys, temperature, greedy)
        opening = jnp.swapaxes(opening, 0, 1).astype(rest.dtype)
        return jnp.concatenate([opening, rest], axis=1), log_probs.sum(0)

    def _start(self, *batch: int) -> tuple[list[LSTMState], Array]:
        """States before the first step, and what the top layer puts out there."""
        return self._zero_states(*batch), jnp.zeros((*batch, self.config.hidden))

    def _next_scores(self, carry: tuple[list[LSTMState], Array]) -> Scores:
        return self.out(carry[1], self.embedding[...])

    def _advancer(self):
        """A function carry, symbols, position gates -> carry after reading the symbols."""
        table = self._symbol_gates()

        def advance(carry, x_t, gates_t):
            return self.lstm.step(self.emission.embed(table, x_t) + gates_t, carry[0])

        return advance

    def _symbol_gates(self) -> Float[Array, "V 4H"]:
        """What each symbol adds to the first layer's gates."""
        return self.lstm.cells[0].gates(self.embedding[...])

    def _write(self, carry, gates: Array, keys: PRNGKeyArray, temperature, greedy: bool) -> Array:
        """Symbols [N, T, ..] drawn one after the other, given the position gates [T, N, 4H]."""
        advance = self._advancer()
        pick = jax.vmap(partial(choose, self.emission, temperature=temperature, greedy=greedy))

        def step(carry, inputs):
            keys_t, gates_t = inputs
            x_t = pick(self._next_scores(carry), keys_t)
            return advance(carry, x_t, gates_t), x_t

        keys = jax.vmap(partial(jax.random.split, num=gates.shape[0]), out_axes=1)(keys)
        return jnp.swapaxes(jax.lax.scan(step, carry, (keys, gates))[1], 0, 1)
