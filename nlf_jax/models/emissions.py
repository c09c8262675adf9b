"""How a symbol is drawn from scores: one of V classes, or V independent bits."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from nlf_jax.nn.linear import Linear, project, uniform


class Categorical:
    """Symbols are ids, int32 [T]; scores are logits [T, V]."""

    @staticmethod
    def embed(table: Float[Array, "V E"], x: Array) -> Float[Array, "T E"]:
        """Embedding of every symbol."""
        return table[x]

    @staticmethod
    def log_prob(scores: Float[Array, "... V"], x: Array) -> Float[Array, "..."]:
        """log softmax(scores)[x]."""
        chosen = jnp.take_along_axis(scores, x[..., None], axis=-1)[..., 0]
        return chosen - jax.nn.logsumexp(scores, axis=-1)

    @staticmethod
    def sample(scores: Array, key: PRNGKeyArray, temperature: Array) -> Array:
        """Ids drawn from softmax(scores / temperature)."""
        return jax.random.categorical(key, scores / temperature).astype(jnp.int32)

    @staticmethod
    def mode(scores: Array) -> Array:
        """The most probable id."""
        return jnp.argmax(scores, -1).astype(jnp.int32)

    @staticmethod
    def hide(x: Array, mask: Array) -> Array:
        """Symbols with the padded steps replaced by a harmless id."""
        return jnp.where(mask, x, 0)


class Bernoulli:
    """Symbols are bit vectors [T, V]; scores are logits of each bit."""

    @staticmethod
    def embed(table: Float[Array, "V E"], x: Array) -> Float[Array, "T E"]:
        """Sum of the embeddings of the bits that are set."""
        return project(x.astype(table.dtype), table)

    @staticmethod
    def log_prob(scores: Float[Array, "... V"], x: Array) -> Float[Array, "..."]:
        """Sum over the V bits of x log p + (1 - x) log(1 - p), p = sigmoid(scores)."""
        bits = x.astype(scores.dtype)
        return (bits * scores - jax.nn.softplus(scores)).sum(-1)

    @staticmethod
    def sample(scores: Array, key: PRNGKeyArray, temperature: Array) -> Array:
        """Bits drawn from sigmoid(scores / temperature)."""
        return jax.random.bernoulli(key, jax.nn.sigmoid(scores / temperature))

    @staticmethod
    def mode(scores: Array) -> Array:
        """Bits more probable than not."""
        return scores > 0

    @staticmethod
    def hide(x: Array, mask: Array) -> Array:
        """Bits with the padded steps replaced by zeros."""
        return jnp.where(mask[:, None], x, jnp.zeros((), x.dtype))


EMISSIONS = {"categorical": Categorical, "bernoulli": Bernoulli}


def choose(
    emission: type[Categorical] | type[Bernoulli],
    scores: Float[Array, "... V"],
    key: PRNGKeyArray,
    temperature: Float[Array, ""],
    greedy: bool,
) -> Array:
    """The most probable symbols if ``greedy``, else drawn ones."""
    return emission.mode(scores) if greedy else emission.sample(scores, key, temperature)


class OutputLayer(nnx.Module):
    """Features to scores: two linear maps, the second one tied to the embedding if asked for."""

    def __init__(self, in_size: int, hidden: int, num_symbols: int, *, tied: bool, rngs: nnx.Rngs):
        self.first = Linear(in_size, hidden, rngs=rngs)
        self.weight = None if tied else uniform(rngs, (num_symbols, hidden), 0.07)
        self.bias = nnx.Param(jnp.zeros(num_symbols))

    def __call__(
        self, features: Float[Array, "... I"], embedding: Float[Array, "V E"]
    ) -> Float[Array, "... V"]:
        weight = embedding if self.weight is None else self.weight[...]
        h = self.first(features)
        return project(h, weight.T) + self.bias[...]
