"""The baselines: language models of sequences, given their lengths."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nlf_jax.models.base import Terms
from nlf_jax.models.config import ModelConfig
from nlf_jax.models.emissions import Scores, choose
from nlf_jax.models.outputs import create_output, emission_of
from nlf_jax.nn.axes import varying_like
from nlf_jax.nn.gated import GatedStack
from nlf_jax.nn.keys import split_for_steps
from nlf_jax.nn.linear import uniform
from nlf_jax.nn.lstm import LSTM
from nlf_jax.nn.position import step_mask
from nlf_jax.nn.summary import Summariser, summariser_of


class LanguageModel(nnx.Module):
    """p(x) as a product of p(x_t | x_{<t}, T); arrays as for ``LatentFlow``.

    The LSTM before step t has read x_{t-1} with the position of t; the first symbol's scores are
    those of a zero state and don't know the length (as in the authors' code). With a gated
    recurrence they do.

    Examples:
        >>> import jax, nlf_jax
        >>> config = nlf_jax.ModelConfig(model="lstm", embedding=8, hidden=8, latent=4)
        >>> network = nlf_jax.create_network(
        ...     config, num_symbols=5, max_length=10, key=jax.random.key(0)
        ... )
        >>> network.embedding[...].shape  # [V, E]
        (5, 8)
    """

    def __init__(self, config: ModelConfig, num_symbols: int, max_length: int, *, rngs: nnx.Rngs):
        self.config, self.max_length = config, max_length
        bound = (6.0 / (num_symbols + config.embedding)) ** 0.5
        self.embedding = uniform(rngs, (num_symbols, config.embedding), bound)
        sizes = (config.embedding, config.hidden, config.lstm_layers, max_length)
        if config.recurrence == "gated":
            self.gated = GatedStack(*sizes, products=config.products, rngs=rngs)
        else:
            self.lstm = LSTM(*sizes, products=config.products, rngs=rngs)
        self.out = create_output(config, config.hidden, config.embedding, num_symbols, rngs)

    @property
    def summariser(self) -> Summariser:
        """What sums up the earlier symbols."""
        return summariser_of(self)

    @property
    def emission(self):
        """The family of p(x_t | x_{<t})."""
        return emission_of(self.config, self.out)

    def symbol_inputs(self) -> Float[Array, "V F"]:
        """What the summariser reads of each symbol."""
        return self.summariser.inputs(self.embedding[...])

    def scores_of(self, summary: Float[Array, "... H"]) -> Scores:
        """Scores of the next symbol."""
        return self.out(summary, self.embedding[...])

    def scores(
        self, x: Array, length: Int[Array, "*B"], dropout_keys: PRNGKeyArray | None = None
    ) -> Scores:
        """Scores of every symbol given the ones before it, [T, *B, ..]."""
        x = self.emission.hide(x, step_mask(length, x.shape[0]))
        inputs = self.emission.embed(self.symbol_inputs(), x[:-1])
        rate = self.config.dropout
        return self.scores_of(self.summariser.summaries(inputs, length, dropout_keys, rate))

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
        steps = self._batch_log_prob(x, lengths, keys if train else None).sum(0)
        return Terms(steps, jnp.zeros_like(steps))

    def terms_by_step(
        self, x: Array, lengths: Int[Array, "B"], keys: PRNGKeyArray, *, num_samples: int
    ) -> Terms:
        """See ``Network``; as ``terms``."""
        del keys, num_samples
        steps = self._batch_log_prob(x, lengths)
        return Terms(steps, jnp.zeros_like(steps))

    def _batch_log_prob(
        self, x: Array, lengths: Int[Array, "B"], dropout_keys: PRNGKeyArray | None = None
    ) -> Float[Array, "T B 1"]:
        """``log_prob``, 0 at padded steps."""
        steps = self.log_prob(jnp.swapaxes(x, 0, 1), lengths, dropout_keys)
        return jnp.where(step_mask(lengths, x.shape[1]), steps, 0.0)[..., None]

    def generate(
        self,
        lengths: Int[Array, "N"],
        num_steps: int,
        keys: PRNGKeyArray,
        temperature: Float[Array, ""],
        greedy: bool,
    ) -> Array:
        """Draw sequences symbol by symbol; see ``Network``."""
        carry, per_step = self.summariser.start(lengths, (num_steps, *lengths.shape))
        return self._write(carry, per_step, num_steps, keys, temperature, greedy)

    def continuation(
        self,
        opening: Array,
        lengths: Int[Array, "N"],
        num_steps: int,
        keys: PRNGKeyArray,
        temperature: Float[Array, ""],
        greedy: bool,
    ) -> tuple[Array, Float[Array, "N"]]:
        """Read the opening and write on, which is exact; the weight is log p(opening | T)."""
        num_known, advance = opening.shape[0], self._advancer()
        carry, per_step = self.summariser.start(lengths, (num_steps, *lengths.shape))
        known, rest = _split_steps(per_step, num_known)
        shape = (num_known, *lengths.shape, *opening.shape[1:])
        opening = jnp.broadcast_to(opening[:, None], shape)

        def read(carry, inputs):
            x_t, of_step = inputs
            log_prob = self.emission.log_prob(self.scores_of(carry.summary), x_t)
            return advance(carry, x_t, of_step), log_prob

        steps = (opening, known)
        carry, log_probs = jax.lax.scan(read, varying_like(carry, steps, self), steps)
        rest = self._write(carry, rest, num_steps - num_known, keys, temperature, greedy)
        opening = jnp.swapaxes(opening, 0, 1).astype(rest.dtype)
        return jnp.concatenate([opening, rest], axis=1), log_probs.sum(0)

    def _advancer(self):
        """A function carry, symbols, what ``start`` gave for the step -> carry after reading."""
        table, network = self.symbol_inputs(), self.summariser

        def advance(carry, x_t, of_step):
            return network.advance(carry, self.emission.embed(table, x_t), of_step)

        return advance

    def _write(
        self, carry: Any, per_step: Any, num_steps: int, keys: PRNGKeyArray, temperature, greedy
    ) -> Array:
        """Symbols [N, T, ..] drawn one after the other."""
        advance = self._advancer()
        pick = jax.vmap(partial(choose, self.emission, temperature=temperature, greedy=greedy))

        def step(carry, inputs):
            keys_t, of_step = inputs
            x_t = pick(self.scores_of(carry.summary), keys_t)
            return advance(carry, x_t, of_step), x_t

        steps = (split_for_steps(keys, num_steps), per_step)
        carry = varying_like(carry, steps, temperature, self)
        return jnp.swapaxes(jax.lax.scan(step, carry, steps)[1], 0, 1)


def _split_steps(per_step: Any, first: int) -> tuple[Any, Any]:
    """The first steps of a tree of arrays [T, ..], and the others."""
    return jax.tree.map(lambda a: a[:first], per_step), jax.tree.map(lambda a: a[first:], per_step)
