"""p(z_t | z_<t) of the prior in two dimensions."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nlf_jax.bijectors.recurrent import SequenceContext
from nlf_jax.models import CodebookFlow, LatentVariableModel
from nlf_jax.models.emissions import Categorical
from nlf_jax.report.conditionals import propose

NUM_DRAWS, _TOGETHER = 400, 100
# Of Scott's rule; symbols are narrow modes, frames are not.
_OF_SYMBOLS, _OF_FRAMES = 0.35, 1.0


class Mixture(NamedTuple):
    """Equal Gaussians of the latent of a step.

    Attributes:
        weights: of the components, summing to 1.
        means: of the components.
        symbols: that each component stands for; -1 for none.
        width: the components' standard deviation in every dimension.
    """

    weights: Float[np.ndarray, "N"]
    means: Float[np.ndarray, "N D"]
    symbols: Int[np.ndarray, "N"]
    width: float

    def density(
        self, points: Float[np.ndarray, "... 2"], directions: Float[np.ndarray, "D 2"]
    ) -> Float[np.ndarray, "..."]:
        """The density of the latent's coordinates in two orthonormal directions."""
        total = np.zeros(points.shape[:-1])
        for weight, mean in zip(self.weights, self.means @ directions, strict=True):
            squares = np.square((points - mean) / self.width).sum(-1)
            total += weight * np.exp(-0.5 * squares)
        return total / (2 * np.pi * self.width**2)


def is_closed_form(network: LatentVariableModel) -> bool:
    """Whether the prior of a step is a mixture of Gaussians."""
    return isinstance(network, CodebookFlow) and network.config.is_text


def step_priors(
    network: LatentVariableModel, x: Array, steps: Int[np.ndarray, "P"], key: PRNGKeyArray
) -> list[Mixture]:
    """p(z_t | z_{<t}) at some steps of a sequence, z_{<t} the posterior's means.

    Exact for a codebook flow of symbols. Else draws from the prior, smoothed by Gaussians that are
    narrow beside their spread.

    Args:
        x: symbols of one sequence, [T] or [T, V].
    """
    if is_closed_form(network):
        weights, codes = jax.device_get(_mixtures(network, x))
        width, symbols = network.config.code_width, np.arange(len(codes))
        return [Mixture(weights[t].astype(np.float64), codes, symbols, width) for t in steps]
    z, symbols = jax.device_get(_draws(network, x, jnp.asarray(steps, jnp.int32), key))
    each = np.full(NUM_DRAWS, 1 / NUM_DRAWS)
    share = _OF_SYMBOLS if network.config.is_text else _OF_FRAMES
    width = max(float(share * z.std((0, 1)).max() * NUM_DRAWS ** (-1 / 6)), 1e-3)
    return [Mixture(each, *of_step, width) for of_step in zip(z, symbols, strict=True)]


def main_directions(priors: list[Mixture]) -> Float[np.ndarray, "D 2"]:
    """The two orthonormal directions in which the means differ most, over all of the priors."""
    weights = np.concatenate([prior.weights for prior in priors])
    means = np.concatenate([prior.means for prior in priors])
    centred = means - np.average(means, axis=0, weights=weights)
    _, directions = np.linalg.eigh((centred * weights[:, None]).T @ centred)
    return directions[:, ::-1][:, :2]


def main_axes(priors: list[Mixture]) -> Float[np.ndarray, "D 2"]:
    """The two dimensions in which the means differ most."""
    variances = np.mean([prior.means.var(0) for prior in priors], axis=0)
    return np.eye(len(variances))[:, np.sort(np.argsort(variances)[-2:])]


@jax.jit
def _mixtures(network: CodebookFlow, x: Array) -> tuple[Array, Array]:
    """Weights [T, V] and codes [V, D]."""
    length = jnp.array([x.shape[0]], jnp.int32)
    z = network.encode(x[:, None], length).mean
    logits = network.prior.contexts(z, SequenceContext(length))[:, 0]
    return jax.nn.softmax(logits), network.prior.codebook.codes


@jax.jit
def _draws(network, x: Array, steps: Array, key: PRNGKeyArray) -> tuple[Array, Array]:
    """Latents of the steps, [P, N, D], and their likeliest symbols [P, N]."""
    known = jnp.repeat(steps, NUM_DRAWS).reshape(-1, _TOGETHER)
    keys = jax.random.split(key, len(known))
    z, scores, _ = propose(network, x, known, keys, from_means=True)
    symbols = jnp.full(known.shape, -1)
    if network.emission is Categorical:
        symbols = network.emission.mode(scores)
    return z.reshape(len(steps), NUM_DRAWS, -1), symbols.reshape(len(steps), NUM_DRAWS)
