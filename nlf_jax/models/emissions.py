"""How a symbol is drawn from scores: one of V classes, V independent bits, or a mixture of such."""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from nlf_jax.models.config import ModelConfig
from nlf_jax.nn.linear import Linear, look_up, project, uniform


class Categorical:
    """Symbols are ids, int32 [T, *B]; scores are logits [T, *B, V]."""

    @staticmethod
    def embed(table: Float[Array, "V E"], x: Array) -> Float[Array, "T *B E"]:
        """Embedding of every symbol."""
        return look_up(table, x)

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
    """Symbols are bit vectors [T, *B, V]; scores are logits of each bit."""

    @staticmethod
    def embed(table: Float[Array, "V E"], x: Array) -> Float[Array, "T *B E"]:
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
        return jnp.where(mask[..., None], x, jnp.zeros((), x.dtype))


class BernoulliMixture(Bernoulli):
    """Bits depend on each other by way of the component, one of K, that they are drawn from.

    Symbols are bit vectors [T, *B, V]; scores are [T, *B, K, V + 1]: the logits of each component's
    bits and, last, of the component itself.
    """

    @staticmethod
    def log_prob(scores: Float[Array, "... K V1"], x: Array) -> Float[Array, "..."]:
        """log sum_k pi_k prod_v p(x_v | k)."""
        given_component = Bernoulli.log_prob(scores[..., :-1], x[..., None, :])
        log_share = jax.nn.log_softmax(scores[..., -1], axis=-1)
        return jax.nn.logsumexp(log_share + given_component, axis=-1)

    @staticmethod
    def sample(scores: Array, key: PRNGKeyArray, temperature: Array) -> Array:
        """A component, then its bits, both from scores / temperature."""
        component_key, bit_key = jax.random.split(key)
        component = Categorical.sample(scores[..., -1], component_key, temperature)
        chosen = jnp.take_along_axis(scores, component[..., None, None], axis=-2)[..., 0, :-1]
        return Bernoulli.sample(chosen, bit_key, temperature)

    @staticmethod
    def mode(scores: Array) -> Array:
        """Of the components' modes the one that is most probable in the mixture."""
        modes = Bernoulli.mode(scores[..., :-1])
        log_probs = BernoulliMixture.log_prob(scores[..., None, :, :], modes)
        best = jnp.argmax(log_probs, -1)[..., None, None]
        return jnp.take_along_axis(modes, best, axis=-2)[..., 0, :]


def emission_of(config: ModelConfig) -> type[Categorical] | type[Bernoulli]:
    """The family of a configuration."""
    if config.emission == "categorical":
        return Categorical
    return Bernoulli if config.mixtures == 1 else BernoulliMixture


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

    def __init__(
        self,
        in_size: int,
        hidden: int,
        num_symbols: int,
        *,
        tied: bool,
        products: str,
        rngs: nnx.Rngs,
    ):
        self.first = Linear(in_size, hidden, products=products, rngs=rngs)
        self.weight = None if tied else uniform(rngs, (num_symbols, hidden), 0.07)
        self.bias = nnx.Param(jnp.zeros(num_symbols))

    def __call__(
        self, features: Float[Array, "... I"], embedding: Float[Array, "V E"]
    ) -> Float[Array, "... V"]:
        weight = embedding if self.weight is None else self.weight[...]
        bias = project(self.first.bias[...], weight.T) + self.bias[...]
        scores = _project_twice(features, self.first.weight[...], weight.T, self.first.products)
        return scores + bias


def _project_twice(
    x: Float[Array, "... I"], a: Float[Array, "I H"], b: Float[Array, "H V"], products: str
) -> Float[Array, "... V"]:
    """``x A B`` in the cheaper order: for many rows the two weights are multiplied first."""
    (inputs, outputs), rows = (a.shape[0], b.shape[1]), x.size // x.shape[-1]
    if inputs * outputs * (a.shape[1] + rows) < rows * a.shape[1] * (inputs + outputs):
        return project(x, project(a, b, products), products)
    return project(project(x, a, products), b, products)


class MixtureOutputLayer(nnx.Module):
    """Features to the scores of ``BernoulliMixture``.

    As ``OutputLayer`` for each component, with the last weight in common, and a linear map to the
    components' own logits.
    """

    def __init__(
        self,
        in_size: int,
        hidden: int,
        num_symbols: int,
        *,
        mixtures: int,
        tied: bool,
        products: str,
        rngs: nnx.Rngs,
    ):
        linear = partial(Linear, in_size, products=products, rngs=rngs)
        self.first, self.component = linear(mixtures * hidden), linear(mixtures)
        self.weight = None if tied else uniform(rngs, (num_symbols, hidden), 0.07)
        self.bias = nnx.Param(jnp.zeros((mixtures, num_symbols)))

    def __call__(
        self, features: Float[Array, "... I"], embedding: Float[Array, "V E"]
    ) -> Float[Array, "... K V1"]:
        weight = embedding if self.weight is None else self.weight[...]
        mixtures = self.bias.shape[0]
        h = self.first(features).reshape(*features.shape[:-1], mixtures, weight.shape[1])
        bits = project(h, weight.T, self.first.products) + self.bias[...]
        return jnp.concatenate([bits, self.component(features)[..., None]], axis=-1)


def create_output(
    config: ModelConfig, in_size: int, hidden: int, num_symbols: int, rngs: nnx.Rngs
) -> OutputLayer | MixtureOutputLayer:
    """The output layer of a configuration."""
    layer = OutputLayer
    if config.mixtures > 1:
        layer = partial(MixtureOutputLayer, mixtures=config.mixtures)
    sizes = (in_size, hidden, num_symbols)
    return layer(*sizes, tied=config.tied, products=config.products, rngs=rngs)
