"""A posterior and a likelihood of each step by itself, so that the prior does all the work."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from nlf_jax.models.base import Gaussian
from nlf_jax.models.config import ModelConfig
from nlf_jax.models.outputs import create_output
from nlf_jax.nn.axes import aligned
from nlf_jax.nn.linear import Linear, project
from nlf_jax.nn.lstm import Inputs


class FactorisedPosterior(nnx.Module):
    """q(z_t | x_t): a Gaussian from a network of the symbol's or frame's embedding alone."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        units = 2 * config.hidden
        self.first = Linear(config.embedding, units, bound=config.embedding**-0.5, rngs=rngs)
        self.out = Linear(units, 2 * config.latent, bound=units**-0.5, rngs=rngs)

    def __call__(
        self,
        embedded: Inputs,
        length: Int[Array, "*B"] | None = None,
        mask: Bool[Array, "T *B"] | None = None,
        dropout: Float[Array, "T *B 2H"] | None = None,
    ) -> Gaussian:
        """See ``Posterior``; it needs neither the length nor the mask."""
        del length, mask
        h = embedded(self.first.product)
        h = jax.nn.relu(h + aligned(self.first.bias[...], h))
        out = self.out(h if dropout is None else h * dropout)
        out = out.reshape(*out.shape[:-1], -1, 2)
        return Gaussian(out[..., 0], out[..., 1])


class SymbolLikelihood(nnx.Module):
    """p(x_t | z_t) by Bayes' rule: ``p(k | z) = w_k q(z | k) / sum_j w_j q(z | j)``, w learned."""

    def __init__(self, num_symbols: int):
        self.log_weights = nnx.Param(jnp.zeros(num_symbols, jnp.float32))

    def __call__(self, z: Float[Array, "... D"], symbols: Gaussian) -> Float[Array, "... V"]:
        """Scores; ``symbols``: q(z | k) for every k, [V, D]."""
        mean, precision = symbols.mean, jnp.exp(-symbols.log_variance)
        squares = project(-0.5 * z * z, precision.T) + project(z, (mean * precision).T)
        constant = -0.5 * (mean * mean * precision + symbols.log_variance).sum(-1)
        return squares + aligned(constant + self.log_weights[...], squares)


class FrameLikelihood(nnx.Module):
    """p(x_t | z_t): an output layer on z_t and a hidden layer of it."""

    def __init__(self, config: ModelConfig, num_symbols: int, rngs: nnx.Rngs):
        units = 2 * config.hidden
        self.first = Linear(config.latent, units, bound=config.latent**-0.5, rngs=rngs)
        width = config.embedding if config.tied else config.hidden
        self.out = create_output(config, config.latent + units, width, num_symbols, rngs)

    def features(
        self,
        z: Float[Array, "T *B D"],
        length: Int[Array, "*B"],
        dropout: Float[Array, "T *B 2H"] | None = None,
    ) -> Float[Array, "T *B F"]:
        """See ``Likelihood``."""
        del length
        h = jax.nn.relu(self.first(z))
        return jnp.concatenate([z, h if dropout is None else h * dropout], axis=-1)
