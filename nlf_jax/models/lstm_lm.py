"""The baseline: an LSTM language model of one sequence, given its length."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nlf_jax.models.config import ModelConfig
from nlf_jax.models.emissions import choose, create_output, emission_of
from nlf_jax.models.latent_flow import Terms
from nlf_jax.nn.linear import project, uniform
from nlf_jax.nn.lstm import LSTM, LSTMState, zero_state
from nlf_jax.nn.position import step_mask


class LSTMLanguageModel(nnx.Module):
    """p(x) as a product of p(x_t | x_{<t}, T).

    The state before step t has read x_{t-1} with the position of t; the first symbol's scores are
    those of a zero state and don't know the length (as in the authors' code).
    """

    def __init__(self, config: ModelConfig, num_symbols: int, max_length: int, *, rngs: nnx.Rngs):
        self.config, self.max_length = config, max_length
        bound = (6.0 / (num_symbols + config.embedding)) ** 0.5
        self.embedding = uniform(rngs, (num_symbols, config.embedding), bound)
        sizes = (config.embedding, config.hidden, config.lstm_layers, max_length)
        self.lstm = LSTM(*sizes, rngs=rngs)
        self.out = create_output(config, config.hidden, config.embedding, num_symbols, rngs)

    @property
    def emission(self):
        """The family of p(x_t | x_{<t})."""
        return emission_of(self.config)

    def _zero_states(self) -> list[LSTMState]:
        return [zero_state(self.config.hidden)] * self.config.lstm_layers

    def _dropout(self, key: PRNGKeyArray | None, num_steps: int) -> Array | None:
        rate = self.config.dropout
        if key is None or rate == 0.0:
            return None
        shape = (num_steps, self.config.lstm_layers, self.config.hidden)
        return jax.random.bernoulli(key, 1.0 - rate, shape) / (1.0 - rate)

    def scores(
        self, x: Array, length: Int[Array, ""], dropout_key: PRNGKeyArray | None = None
    ) -> Float[Array, "T V"]:
        """Scores of every symbol given the ones before it."""
        num_steps = x.shape[0]
        x = self.emission.hide(x, step_mask(length, num_steps))
        embedded = self.emission.embed(self.embedding[...], x[:-1])
        gates = self.lstm.position_gates(1, num_steps - 1, length)
        dropout = self._dropout(dropout_key, num_steps - 1)
        states = self.lstm(embedded, gates, self._zero_states(), dropout)
        return self.out(jnp.pad(states, ((1, 0), (0, 0))), self.embedding[...])

    def log_prob(
        self, x: Array, length: Int[Array, ""], dropout_key: PRNGKeyArray | None = None
    ) -> Float[Array, "T"]:
        """log p(x_t | x_{<t}, T); meaningless at padded steps."""
        mask = step_mask(length, x.shape[0])
        return self.emission.log_prob(
            self.scores(x, length, dropout_key), self.emission.hide(x, mask)
        )

    def terms(
        self,
        x: Array,
        lengths: Int[Array, "B"],
        key: PRNGKeyArray,
        *,
        num_samples: int = 1,
        train: bool = False,
    ) -> Terms:
        """The exact log-likelihood as the reconstruction, S = 1 whatever is asked, and no KL."""
        del num_samples
        keys = jax.random.split(key, lengths.shape[0]) if train else None
        steps = jax.vmap(self.log_prob)(x, lengths, keys)
        mask = jax.vmap(step_mask, (0, None))(lengths, x.shape[1])
        total = jnp.where(mask, steps, 0.0).sum(1)
        return Terms(total[:, None], jnp.zeros((lengths.shape[0], 1)))

    def generate(
        self,
        length: Int[Array, ""],
        num_steps: int,
        key: PRNGKeyArray,
        temperature: Float[Array, ""],
        greedy: bool,
    ) -> Array:
        """Draw one sequence symbol by symbol, [num_steps], arbitrary past the end.

        Args:
            temperature: divisor of the scores.
            greedy: take the most probable symbol instead of drawing one.
        """
        gates = self.lstm.position_gates(1, num_steps, length)
        write = self._writer(temperature, greedy)
        return jax.lax.scan(write, self._start(), (jax.random.split(key, num_steps), gates))[1]

    def continuation(
        self,
        opening: Array,
        length: Int[Array, ""],
        num_steps: int,
        key: PRNGKeyArray,
        temperature: Float[Array, ""],
        greedy: bool,
    ) -> tuple[Array, Float[Array, ""]]:
        """Go on with an opening of k symbols; arguments: see ``generate``.

        Returns:
            The sequence, [num_steps], and log p(opening | length), nats.
        """
        num_known, advance = opening.shape[0], self._advancer()
        gates = self.lstm.position_gates(1, num_steps, length)

        def read(carry, inputs):
            x_t, gates_t = inputs
            log_prob = self.emission.log_prob(self._next_scores(carry), x_t)
            return advance(carry, x_t, gates_t), log_prob

        carry, log_probs = jax.lax.scan(read, self._start(), (opening, gates[:num_known]))
        keys = jax.random.split(key, num_steps - num_known)
        write = self._writer(temperature, greedy)
        _, rest = jax.lax.scan(write, carry, (keys, gates[num_known:]))
        return jnp.concatenate([opening.astype(rest.dtype), rest]), log_probs.sum()

    def _start(self) -> tuple[list[LSTMState], Float[Array, "H"]]:
        return self._zero_states(), jnp.zeros(self.config.hidden)

    def _next_scores(self, carry: tuple[list[LSTMState], Array]) -> Float[Array, "V"]:
        return self.out(carry[1], self.embedding[...])

    def _advancer(self):
        """A function carry, symbol, position gates -> carry after reading the symbol.

        What the embeddings add to the gates is computed once, for all symbols.
        """
        cell = self.lstm.cells[0]
        table = project(self.embedding[...], cell.input_weight[...])

        def advance(carry, x_t, gates_t):
            gates = self.emission.embed(table, x_t) + cell.bias + gates_t
            return self.lstm.step(gates, carry[0])

        return advance

    def _writer(self, temperature: Array, greedy: bool):
        """A scan's step: carry, (key, position gates) -> carry, symbol."""
        advance = self._advancer()

        def write(carry, inputs):
            key_t, gates_t = inputs
            scores = self._next_scores(carry)
            x_t = choose(self.emission, scores, key_t, temperature, greedy)
            return advance(carry, x_t, gates_t), x_t

        return write
