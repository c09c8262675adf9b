"""The last layer: features to the scores of an emission."""

from functools import partial

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from nlf_jax.bijectors.masked_autoregressive import MaskedAutoregressive
from nlf_jax.models.config import ModelConfig
from nlf_jax.models.emissions import (
    THRESHOLD,
    AutoregressiveBernoulli,
    Bernoulli,
    BernoulliMixture,
    Categorical,
    Emission,
    FrameScores,
)
from nlf_jax.nn.axes import aligned
from nlf_jax.nn.linear import Linear, project, uniform


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
        self.bias = nnx.Param(jnp.zeros(num_symbols, jnp.float32))

    def __call__(
        self, features: Float[Array, "... I"], embedding: Float[Array, "V E"]
    ) -> Float[Array, "... V"]:
        weight = embedding if self.weight is None else self.weight[...]
        bias = project(self.first.bias[...], weight.T) + self.bias[...]
        scores = _project_twice(features, self.first.weight[...], weight.T, self.first.products)
        return scores + aligned(bias, scores)


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
        self.bias = nnx.Param(jnp.zeros((mixtures, num_symbols), jnp.float32))

    def __call__(
        self, features: Float[Array, "... I"], embedding: Float[Array, "V E"]
    ) -> Float[Array, "... K V1"]:
        weight = embedding if self.weight is None else self.weight[...]
        mixtures = self.bias.shape[0]
        h = self.first(features).reshape(*features.shape[:-1], mixtures, weight.shape[1])
        bits = project(h, weight.T, self.first.products)
        bits += aligned(self.bias[...], bits)
        return jnp.concatenate([bits, self.component(features)[..., None]], axis=-1)


class AutoregressiveOutputLayer(nnx.Module):
    """Features to the scores of ``AutoregressiveBernoulli``.

    Args:
        units: of the hidden layer of the network that reads the lower bits.
        others: see ``MixtureOutputLayer``.
    """

    def __init__(
        self, in_size: int, hidden: int, num_symbols: int, *, units: int, rngs: nnx.Rngs, **others
    ):
        self.mixture = MixtureOutputLayer(in_size, hidden, num_symbols, rngs=rngs, **others)
        sizes = (num_symbols, in_size, units, 1)
        self.keys = MaskedAutoregressive(*sizes, THRESHOLD, reverse=False, direct=True, rngs=rngs)

    def __call__(
        self, features: Float[Array, "... I"], embedding: Float[Array, "V E"]
    ) -> FrameScores:
        return FrameScores(self.mixture(features, embedding), features)


Output = OutputLayer | MixtureOutputLayer | AutoregressiveOutputLayer


def create_output(
    config: ModelConfig, in_size: int, hidden: int, num_symbols: int, rngs: nnx.Rngs
) -> Output:
    """The output layer of a configuration."""
    layer = OutputLayer
    if config.frame_units > 0:
        units, mixtures = config.frame_units, config.mixtures
        layer = partial(AutoregressiveOutputLayer, units=units, mixtures=mixtures)
    elif config.mixtures > 1:
        layer = partial(MixtureOutputLayer, mixtures=config.mixtures)
    sizes = (in_size, hidden, num_symbols)
    return layer(*sizes, tied=config.tied, products=config.products, rngs=rngs)


def emission_of(config: ModelConfig, out: Output) -> Emission:
    """The family of a configuration whose scores ``out`` gives."""
    if config.is_text:
        return Categorical
    if isinstance(out, AutoregressiveOutputLayer):
        return AutoregressiveBernoulli(out.keys)
    return Bernoulli if config.mixtures == 1 else BernoulliMixture
