"""The latent flow model: posterior, flow prior and likelihood of one sequence."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nlf_jax.bijectors.base import standard_normal_log_prob
from nlf_jax.bijectors.recurrent import SequenceContext
from nlf_jax.models.config import ModelConfig
from nlf_jax.models.emissions import choose, create_output, emission_of
from nlf_jax.models.priors import create_prior
from nlf_jax.nn.linear import Linear, uniform
from nlf_jax.nn.lstm import BiLSTM
from nlf_jax.nn.position import step_mask


class Terms(NamedTuple):
    """What the sequences of a batch contribute to a bound, summed over steps, per sample."""

    reconstruction: Float[Array, "B S"]
    """log p(x | z), nats."""
    kl: Float[Array, "B S"]
    """log q(z | x) - log p(z), nats."""


class StepTerms(NamedTuple):
    """The same for one sequence and sample before the sum; meaningless at padded steps."""

    reconstruction: Float[Array, "T"]
    log_posterior: Float[Array, "T"]
    log_prior: Float[Array, "T"]


class Gaussian(NamedTuple):
    """Diagonal Gaussian of every step."""

    mean: Float[Array, "T D"]
    log_variance: Float[Array, "T D"]

    def sample(self, noise: Float[Array, "T D"]) -> Float[Array, "T D"]:
        """The point that standard normal noise is moved to."""
        return self.mean + jnp.exp(0.5 * self.log_variance) * noise

    def log_prob_at(self, noise: Float[Array, "T D"]) -> Float[Array, "T"]:
        """Log density at ``sample(noise)``."""
        return standard_normal_log_prob(noise) - 0.5 * self.log_variance.sum(-1)


class Posterior(nnx.Module):
    """q(z | x): BiLSTM over [embedding, position], then a Gaussian per step."""

    def __init__(self, config: ModelConfig, max_length: int, rngs: nnx.Rngs):
        sizes = (config.embedding, config.hidden, config.lstm_layers, max_length)
        self.encoder = BiLSTM(*sizes, rngs=rngs)
        self.out = Linear(2 * config.hidden, 2 * config.latent, rngs=rngs)

    def __call__(
        self, embedded: Float[Array, "T E"], length: Int[Array, ""], known: Int[Array, ""]
    ) -> Gaussian:
        """``known``: the steps after so many are not read, and their Gaussians mean nothing."""
        mask = step_mask(known, embedded.shape[0])
        h = jnp.concatenate(self.encoder(embedded, length, mask), axis=-1)
        out = self.out(h).reshape(h.shape[0], -1, 2)
        return Gaussian(out[..., 0], out[..., 1])


class Likelihood(nnx.Module):
    """p(x_t | z): scores from [z_t, forward state at t-1, backward state at t+1]."""

    def __init__(self, config: ModelConfig, num_symbols: int, max_length: int, rngs: nnx.Rngs):
        sizes = (config.latent, config.hidden, config.lstm_layers, max_length)
        self.decoder = BiLSTM(*sizes, rngs=rngs)
        features = config.latent + 2 * config.hidden
        width = config.embedding if config.tied else config.hidden
        self.out = create_output(config, features, width, num_symbols, rngs)

    def features(self, z: Float[Array, "T D"], length: Int[Array, ""]) -> Float[Array, "T F"]:
        """[z_t, forward state at t-1, backward state at t+1]; zeros beyond both ends."""
        mask = step_mask(length, z.shape[0])
        ahead, back = self.decoder(z, length, mask)
        before = jnp.pad(ahead[:-1], ((1, 0), (0, 0)))
        after = jnp.pad(back[1:], ((0, 1), (0, 0)))
        return jnp.concatenate([z, before, after], axis=-1)


class LatentFlow(nnx.Module):
    """Latent normalizing flow for one discrete sequence (Ziegler & Rush, 2019).

    z ~ flow prior given the length; x_t ~ emission given z and the length, independently.
    """

    def __init__(self, config: ModelConfig, num_symbols: int, max_length: int, *, rngs: nnx.Rngs):
        self.config, self.max_length = config, max_length
        self.embedding = uniform(rngs, (num_symbols, config.embedding), 0.07)
        self.posterior = Posterior(config, max_length, rngs)
        self.prior = create_prior(config, max_length, rngs)
        self.likelihood = Likelihood(config, num_symbols, max_length, rngs)

    @property
    def emission(self):
        """The family of p(x_t | z)."""
        return emission_of(self.config)

    def encode(
        self, x: Array, length: Int[Array, ""], known: Int[Array, ""] | None = None
    ) -> Gaussian:
        """q(z | x); if only the first ``known`` symbols are, the same read from those alone."""
        known = length if known is None else known
        x = self.emission.hide(x, step_mask(known, x.shape[0]))
        return self.posterior(self.emission.embed(self.embedding[...], x), length, known)

    def scores(self, z: Float[Array, "T D"], length: Int[Array, ""]) -> Float[Array, "T V"]:
        """Scores of p(x_t | z)."""
        z = jnp.where(step_mask(length, z.shape[0])[:, None], z, 0.0)
        return self.likelihood.out(self.likelihood.features(z, length), self.embedding[...])

    def prior_log_prob(self, z: Float[Array, "T D"], context: SequenceContext):
        """log p(z_t | z_{<t}) for every step t, float32 [T]."""
        noise, log_det = self.prior.inverse_and_log_det(z, context)
        return standard_normal_log_prob(noise) + log_det

    def step_terms(
        self,
        x: Array,
        length: Int[Array, ""],
        posterior: Gaussian,
        noise: Float[Array, "T D"],
        dropout_key: PRNGKeyArray | None = None,
    ) -> StepTerms:
        """Terms of the bound at the posterior sample that ``noise`` gives."""
        z = posterior.sample(noise)
        x = self.emission.hide(x, step_mask(length, x.shape[0]))
        return StepTerms(
            self.emission.log_prob(self.scores(z, length), x),
            posterior.log_prob_at(noise),
            self.prior_log_prob(z, SequenceContext(length, dropout_key)),
        )

    def terms(
        self,
        x: Array,
        lengths: Int[Array, "B"],
        key: PRNGKeyArray,
        *,
        num_samples: int,
        train: bool = False,
    ) -> Terms:
        """Reconstruction and KL of every sequence of a batch for each of S posterior samples.

        The samples are rows of one larger batch, so that every matrix product sees B * S rows.

        Args:
            train: dropout is on.
        """
        rows, num_steps = lengths.shape[0] * num_samples, x.shape[1]
        repeat = lambda tree: jax.tree.map(lambda a: jnp.repeat(a, num_samples, 0), tree)  # noqa: E731
        posterior, x, lengths = repeat((jax.vmap(self.encode)(x, lengths), x, lengths))
        noise_key, dropout_key = jax.random.split(key)
        noise = jax.random.normal(noise_key, (rows, num_steps, self.config.latent))
        dropout_keys = jax.random.split(dropout_key, rows) if train else None
        steps = jax.vmap(self.step_terms)(x, lengths, posterior, noise, dropout_keys)
        mask = jax.vmap(step_mask, (0, None))(lengths, num_steps)
        total = jax.tree.map(lambda term: jnp.where(mask, term, 0.0).sum(1), steps)
        kl = total.log_posterior - total.log_prior
        return Terms(total.reconstruction.reshape(-1, num_samples), kl.reshape(-1, num_samples))

    def generate(
        self,
        length: Int[Array, ""],
        num_steps: int,
        key: PRNGKeyArray,
        temperature: Float[Array, ""],
        greedy: bool,
    ) -> Array:
        """Draw one sequence of the given length, [num_steps] symbols, arbitrary past the end.

        Args:
            temperature: factor on the noise's standard deviation and divisor of the scores.
            greedy: take the most probable symbol given z instead of drawing one.
        """
        noise_key, emission_key = jax.random.split(key)
        noise = temperature * jax.random.normal(noise_key, (num_steps, self.config.latent))
        z, _ = self.prior.forward_and_log_det(noise, SequenceContext(length))
        return choose(self.emission, self.scores(z, length), emission_key, temperature, greedy)

    def continuation(
        self,
        opening: Array,
        length: Int[Array, ""],
        num_steps: int,
        key: PRNGKeyArray,
        temperature: Float[Array, ""],
        greedy: bool,
    ) -> tuple[Array, Float[Array, ""]]:
        """Propose one sequence that begins with the opening; arguments: see ``generate``.

        The latents of the k opening steps come from the posterior that has read the opening, the
        noise of the later steps from N(0, I). Every prior here is triangular in time, so the
        opening's latents are those of the first k steps of noise.

        Returns:
            The sequence, [num_steps], and the log importance weight of the latents:
            ``log p(opening | z) + log p(z_{1..k}) - log q(z_{1..k} | opening)``, nats.
        """
        num_known = opening.shape[0]
        noise_key, emission_key = jax.random.split(key)
        fresh = jax.random.normal(noise_key, (num_steps, self.config.latent))
        padding = [(0, num_steps - num_known)] + [(0, 0)] * (opening.ndim - 1)
        posterior = self.encode(jnp.pad(opening, padding), length, jnp.int32(num_known))
        known = step_mask(jnp.int32(num_known), num_steps)[:, None]
        start = jnp.where(known, posterior.sample(fresh), 0.0)
        noise, log_det = self.prior.inverse_and_log_det(start, SequenceContext(length))
        log_prior = standard_normal_log_prob(noise) + log_det
        noise = jnp.where(known, noise, temperature * fresh)
        z, _ = self.prior.forward_and_log_det(noise, SequenceContext(length))
        scores = self.scores(z, length)
        symbols = choose(self.emission, scores, emission_key, temperature, greedy)
        log_weights = log_prior - posterior.log_prob_at(fresh)
        log_weights = log_weights[:num_known] + self.emission.log_prob(scores[:num_known], opening)
        opening = opening.astype(symbols.dtype)
        return jnp.concatenate([opening, symbols[num_known:]]), log_weights.sum()
