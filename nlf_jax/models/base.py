"""What the networks have in common: the terms of a bound, and drawing with a latent."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nlf_jax.bijectors.base import standard_normal_log_prob
from nlf_jax.bijectors.recurrent import SequenceContext
from nlf_jax.models.config import ModelConfig
from nlf_jax.models.emissions import Scores, choose
from nlf_jax.nn.keys import split_each
from nlf_jax.nn.position import step_mask


class Terms(NamedTuple):
    """What the sequences of a batch contribute to a bound, summed over steps, per sample."""

    reconstruction: Float[Array, "B S"]
    """log p(x | z), nats."""
    kl: Float[Array, "B S"]
    """log q(z | x) - log p(z), nats."""


class Gaussian(NamedTuple):
    """Diagonal Gaussian of every step."""

    mean: Float[Array, "T *B D"]
    log_variance: Float[Array, "T *B D"]

    def sample(self, noise: Float[Array, "T *B D"]) -> Float[Array, "T *B D"]:
        """The point that standard normal noise is moved to."""
        return self.mean + jnp.exp(0.5 * self.log_variance) * noise

    def log_prob_at(self, noise: Float[Array, "T *B D"]) -> Float[Array, "T *B"]:
        """Log density at ``sample(noise)``."""
        return standard_normal_log_prob(noise) - 0.5 * self.log_variance.sum(-1)


def for_samples(posterior: Gaussian, x: Array, lengths: Array) -> tuple[Gaussian, Array, Array]:
    """The three with a second batch axis, of size 1, for the samples of z."""
    expand = lambda axis, tree: jax.tree.map(partial(jnp.expand_dims, axis=axis), tree)  # noqa: E731
    return expand(2, posterior), expand(2, x), expand(1, lengths)


class LatentVariableModel(nnx.Module):
    """p(x) = E[p(x | z)], z from a flow prior given the length, and q(z | x).

    Arrays have the steps first, then batch axes, if any; those of a length may be of size 1.
    """

    config: ModelConfig
    prior: Any

    @property
    def latent_size(self) -> int:
        """D."""
        return self.config.latent

    @property
    def emission(self) -> Any:
        """The family of p(x_t | z)."""
        raise NotImplementedError

    def encode(
        self, x: Array, length: Int[Array, "*B"], known: Int[Array, "*B"] | None = None
    ) -> Gaussian:
        """q(z | x); if only the first ``known`` symbols are, the same read from those alone."""
        raise NotImplementedError

    def scores(self, z: Float[Array, "T *B D"], length: Int[Array, "*B"]) -> Any:
        """Scores of p(x_t | z), [T, *B, ..]."""
        raise NotImplementedError

    def tempered(
        self, noise: Float[Array, "T *B D"], length: Int[Array, "*B"], temperatures: Array
    ) -> tuple[Float[Array, "T *B D"], SequenceContext]:
        """What the prior is given to draw at the temperatures [T] of the steps."""
        temperatures = jnp.expand_dims(temperatures, range(1, noise.ndim))
        return temperatures * noise, SequenceContext(length)

    def prior_log_prob(
        self, z: Float[Array, "T *B D"], context: SequenceContext
    ) -> Float[Array, "T *B"]:
        """log p(z_t | z_{<t}) for every step t."""
        noise, log_det = self.prior.inverse_and_log_det(z, context)
        return standard_normal_log_prob(noise) + log_det

    def generate(
        self,
        lengths: Int[Array, "N"],
        num_steps: int,
        keys: PRNGKeyArray,
        temperature: Float[Array, ""],
        greedy: bool,
    ) -> Array:
        """Draw z from the prior, then every x_t given z; see ``Network``."""
        noise_keys, emission_keys = split_each(keys)
        noise = self._draw_noise(noise_keys, num_steps)
        drawn = self.tempered(noise, lengths, jnp.full(num_steps, temperature))
        z, _ = self.prior.forward_and_log_det(*drawn)
        return self.draw(self.scores(z, lengths), emission_keys, temperature, greedy)

    def continuation(
        self,
        opening: Array,
        lengths: Int[Array, "N"],
        num_steps: int,
        keys: PRNGKeyArray,
        temperature: Float[Array, ""],
        greedy: bool,
    ) -> tuple[Array, Float[Array, "N"]]:
        """Propose sequences that begin with the opening; see ``Network``.

        The latents of the k opening steps come from the posterior that has read the opening, the
        noise of the later steps from N(0, I). Every prior here is triangular in time, so the
        opening's latents are those of the first k steps of noise.

        Returns:
            The sequences, [N, num_steps, ..], and the log importance weights of the latents:
            ``log p(opening | z) + log p(z_{1..k}) - log q(z_{1..k} | opening)``, nats.
        """
        num_known = opening.shape[0]
        noise_keys, emission_keys = split_each(keys)
        fresh = self._draw_noise(noise_keys, num_steps)
        x = jnp.pad(opening, [(0, num_steps - num_known)] + [(0, 0)] * (opening.ndim - 1))
        x = jnp.broadcast_to(x[:, None], (num_steps, *lengths.shape, *x.shape[1:]))
        temperatures = jnp.where(jnp.arange(num_steps) < num_known, 1.0, temperature)
        known = jnp.full_like(lengths, num_known)
        _, scores, log_weights = self.propose(x, lengths, known, fresh, temperatures)
        symbols = self.draw(scores, emission_keys, temperature, greedy)
        opening = jnp.swapaxes(x[:num_known], 0, 1).astype(symbols.dtype)
        symbols = jnp.concatenate([opening, symbols[:, num_known:]], axis=1)
        return symbols, log_weights

    def propose(
        self,
        x: Array,
        lengths: Int[Array, "N"],
        known: Int[Array, "N"],
        noise: Float[Array, "T N D"],
        temperatures: Float[Array, "T"],
    ) -> tuple[Float[Array, "T N D"], Scores, Float[Array, "N"]]:
        """Latents given the first ``known`` symbols of x [T, N, ..]: see ``continuation``.

        Returns:
            z, the scores of p(x_t | z), and the log importance weights of z, nats.
        """
        num_steps = x.shape[0]
        posterior = self.encode(x, lengths, known)
        is_known = step_mask(known, num_steps)
        start = jnp.where(is_known[..., None], posterior.sample(noise), 0.0)
        of_start, log_det = self.prior.inverse_and_log_det(start, SequenceContext(lengths))
        log_weights = standard_normal_log_prob(of_start) + log_det - posterior.log_prob_at(noise)
        fresh, context = self.tempered(noise, lengths, temperatures)
        z, _ = self.prior.forward_and_log_det(
            jnp.where(is_known[..., None], of_start, fresh), context
        )
        scores = self.scores(z, lengths)
        log_weights += self.emission.log_prob(scores, x)
        return z, scores, jnp.where(is_known, log_weights, 0.0).sum(0)

    def draw(
        self, scores: Scores, keys: PRNGKeyArray, temperature: Float[Array, ""], greedy: bool
    ) -> Array:
        """Symbols [N, T, ..] given their scores [T, N, ..]; arguments: see ``generate``."""
        pick = partial(choose, self.emission, temperature=temperature, greedy=greedy)
        return jax.vmap(pick, (1, 0))(scores, keys)

    def _draw_noise(
        self, keys: PRNGKeyArray, num_steps: int, *batch: int
    ) -> Float[Array, "T N *B D"]:
        """Standard normal; a row's own does not depend on the other rows."""
        shape = (num_steps, *batch, self.latent_size)
        draw = lambda key: jax.random.normal(key, shape, jnp.float32)  # noqa: E731
        return jax.vmap(draw, out_axes=1)(keys)
