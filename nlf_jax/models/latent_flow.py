"""The latent flow model: posterior, flow prior and likelihood of one sequence."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from nlf_jax.bijectors.base import standard_normal_log_prob
from nlf_jax.bijectors.recurrent import SequenceContext
from nlf_jax.models.config import ModelConfig
from nlf_jax.models.emissions import Scores, choose
from nlf_jax.models.outputs import create_output, emission_of
from nlf_jax.models.priors import create_prior
from nlf_jax.nn.linear import Linear, uniform
from nlf_jax.nn.lstm import BiLSTM, Inputs, dropout_factors
from nlf_jax.nn.position import step_mask


class Terms(NamedTuple):
    """What the sequences of a batch contribute to a bound, summed over steps, per sample."""

    reconstruction: Float[Array, "B S"]
    """log p(x | z), nats."""
    kl: Float[Array, "B S"]
    """log q(z | x) - log p(z), nats."""


class StepTerms(NamedTuple):
    """The same for every step before the sum; meaningless at padded steps."""

    reconstruction: Float[Array, "T *B"]
    log_posterior: Float[Array, "T *B"]
    log_prior: Float[Array, "T *B"]


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


class Posterior(nnx.Module):
    """q(z | x): BiLSTM over [embedding, position], then a Gaussian per step."""

    def __init__(self, config: ModelConfig, max_length: int, rngs: nnx.Rngs):
        sizes = (config.embedding, config.hidden, config.lstm_layers, max_length)
        self.encoder = BiLSTM(*sizes, products=config.products, rngs=rngs)
        self.out = Linear(2 * config.hidden, 2 * config.latent, products=config.products, rngs=rngs)

    def __call__(
        self,
        embedded: Inputs,
        length: Int[Array, "*B"],
        mask: Bool[Array, "T *B"],
        dropout: Float[Array, "T *B 2H"] | None = None,
    ) -> Gaussian:
        """``mask``: where False a step is not read, and its Gaussian means nothing."""
        h = jnp.concatenate(self.encoder(embedded, length, mask), axis=-1)
        out = self.out(h if dropout is None else h * dropout)
        out = out.reshape(*out.shape[:-1], -1, 2)
        return Gaussian(out[..., 0], out[..., 1])


class Likelihood(nnx.Module):
    """p(x_t | z): scores from [z_t, forward state at t-1, backward state at t+1]."""

    def __init__(self, config: ModelConfig, num_symbols: int, max_length: int, rngs: nnx.Rngs):
        sizes = (config.latent, config.hidden, config.lstm_layers, max_length)
        self.decoder = BiLSTM(*sizes, products=config.products, rngs=rngs)
        features = config.latent + 2 * config.hidden
        width = config.embedding if config.tied else config.hidden
        self.out = create_output(config, features, width, num_symbols, rngs)

    def features(
        self,
        z: Float[Array, "T *B D"],
        length: Int[Array, "*B"],
        dropout: Float[Array, "T *B 2H"] | None = None,
    ) -> Float[Array, "T *B F"]:
        """[z_t, forward state at t-1, backward state at t+1]; zeros beyond both ends."""
        mask = step_mask(length, z.shape[0])
        ahead, back = self.decoder(lambda gates: gates(z), length, mask)
        edge = jnp.zeros_like(ahead[:1])
        before, after = jnp.concatenate([edge, ahead[:-1]]), jnp.concatenate([back[1:], edge])
        states = jnp.concatenate([before, after], axis=-1)
        return jnp.concatenate([z, states if dropout is None else states * dropout], axis=-1)


def split_each(keys: PRNGKeyArray) -> tuple[PRNGKeyArray, PRNGKeyArray]:
    """Two keys for each of N."""
    first, second = jax.vmap(jax.random.split, out_axes=1)(keys)
    return first, second


class LatentFlow(nnx.Module):
    """Latent normalizing flow for discrete sequences (Ziegler & Rush, 2019).

    z ~ flow prior given the length; x_t ~ emission given z and the length, independently. Arrays
    have the steps first, then batch axes, if any; those of a length may be of size 1.
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
        return emission_of(self.config, self.likelihood.out)

    def encode(
        self,
        x: Array,
        length: Int[Array, "*B"],
        known: Int[Array, "*B"] | None = None,
        dropout: Float[Array, "T *B 2H"] | None = None,
    ) -> Gaussian:
        """q(z | x); if only the first ``known`` symbols are, the same read from those alone."""
        mask = step_mask(length if known is None else known, x.shape[0])
        x = self.emission.hide(x, mask)
        # Symbol by symbol what the embedding adds to the gates, instead of step by step.
        embedded = lambda gates: self.emission.embed(gates(self.embedding[...]), x)  # noqa: E731
        return self.posterior(embedded, length, mask, dropout)

    def scores(
        self,
        z: Float[Array, "T *B D"],
        length: Int[Array, "*B"],
        dropout: Float[Array, "T *B 2H"] | None = None,
    ) -> Scores:
        """Scores of p(x_t | z), [T, *B, ..]."""
        z = jnp.where(step_mask(length, z.shape[0])[..., None], z, 0.0)
        features = self.likelihood.features(z, length, dropout)
        return self.likelihood.out(features, self.embedding[...])

    def prior_log_prob(
        self, z: Float[Array, "T *B D"], context: SequenceContext
    ) -> Float[Array, "T *B"]:
        """log p(z_t | z_{<t}) for every step t."""
        noise, log_det = self.prior.inverse_and_log_det(z, context)
        return standard_normal_log_prob(noise) + log_det

    def step_terms(
        self,
        x: Array,
        length: Int[Array, "*B"],
        posterior: Gaussian,
        noise: Float[Array, "T *B D"],
        dropout_keys: PRNGKeyArray | None = None,
        dropout: Float[Array, "T *B 2H"] | None = None,
    ) -> StepTerms:
        """Terms of the bound at the posterior sample that ``noise`` gives.

        Args:
            dropout_keys: for the prior.
            dropout: factors for the likelihood.
        """
        z = posterior.sample(noise)
        x = self.emission.hide(x, step_mask(length, x.shape[0]))
        return StepTerms(
            self.emission.log_prob(self.scores(z, length, dropout), x),
            posterior.log_prob_at(noise),
            self.prior_log_prob(z, SequenceContext(length, dropout_keys)),
        )

    def terms(
        self,
        x: Array,
        lengths: Int[Array, "B"],
        keys: PRNGKeyArray,
        *,
        num_samples: int,
        train: bool = False,
    ) -> Terms:
        """Reconstruction and KL of every sequence of a batch for each of S posterior samples.

        The posterior is run once; the samples are a second batch axis of everything after it.

        Args:
            x: symbols [B, T, ..].
            keys: [B], one for each row.
            train: dropout is on.
        """
        x, num_steps = jnp.swapaxes(x, 0, 1), x.shape[1]
        noise_keys, dropout_keys = split_each(keys)
        noise = self._draw_noise(noise_keys, num_steps, num_samples)
        of_encoder, of_decoder = self._vae_dropout(dropout_keys, noise.shape[:-1], train)
        posterior = self.encode(x, lengths, dropout=of_encoder)
        posterior, x, lengths = (
            jax.tree.map(partial(jnp.expand_dims, axis=axis), tree)
            for tree, axis in ((posterior, 2), (x, 2), (lengths, 1))
        )
        of_prior = dropout_keys if train else None
        steps = self.step_terms(x, lengths, posterior, noise, of_prior, of_decoder)
        mask = step_mask(lengths, num_steps)
        total = jax.tree.map(lambda term: jnp.where(mask, term, 0.0).sum(0), steps)
        return Terms(total.reconstruction, total.log_posterior - total.log_prior)

    def generate(
        self,
        lengths: Int[Array, "N"],
        num_steps: int,
        keys: PRNGKeyArray,
        temperature: Float[Array, ""],
        greedy: bool,
    ) -> Array:
        """Draw N sequences of the given lengths: [N, num_steps, ..], arbitrary past the end.

        Args:
            keys: [N], one for each sequence.
            temperature: factor on the noise's standard deviation and divisor of the scores.
            greedy: take the most probable symbol given z instead of drawing one.
        """
        noise_keys, emission_keys = split_each(keys)
        noise = temperature * self._draw_noise(noise_keys, num_steps)
        z, _ = self.prior.forward_and_log_det(noise, SequenceContext(lengths))
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
        """Propose N sequences that begin with the opening; arguments: see ``generate``.

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
        known = jnp.full_like(lengths, num_known)
        posterior = self.encode(x, lengths, known)
        known = step_mask(known, num_steps)[..., None]
        start = jnp.where(known, posterior.sample(fresh), 0.0)
        noise, log_det = self.prior.inverse_and_log_det(start, SequenceContext(lengths))
        log_weights = standard_normal_log_prob(noise) + log_det - posterior.log_prob_at(fresh)
        noise = jnp.where(known, noise, temperature * fresh)
        z, _ = self.prior.forward_and_log_det(noise, SequenceContext(lengths))
        scores = self.scores(z, lengths)
        log_weights += self.emission.log_prob(scores, x)
        symbols = self.draw(scores, emission_keys, temperature, greedy)
        opening = jnp.swapaxes(x[:num_known], 0, 1).astype(symbols.dtype)
        symbols = jnp.concatenate([opening, symbols[:, num_known:]], axis=1)
        return symbols, log_weights[:num_known].sum(0)

    def draw(
        self, scores: Scores, keys: PRNGKeyArray, temperature: Float[Array, ""], greedy: bool
    ) -> Array:
        """Symbols [N, T, ..] given their scores [T, N, ..]; arguments: see ``generate``."""
        pick = partial(choose, self.emission, temperature=temperature, greedy=greedy)
        return jax.vmap(pick, (1, 0))(scores, keys)

    def _vae_dropout(
        self, keys: PRNGKeyArray, shape: tuple[int, ...], train: bool
    ) -> tuple[Array, Array] | tuple[None, None]:
        """Factors for the outputs of the posterior's LSTM, [T, B, 2H], and the likelihood's.

        Args:
            shape: of the latter's, [T, B, S].
        """
        if not train or (rate := self.config.vae_dropout) == 0.0:
            return None, None
        of_encoder, of_decoder = split_each(keys)
        draw = partial(dropout_factors, rate=rate, num_layers=1, hidden=2 * self.config.hidden)
        return draw(of_encoder, shape=shape[:-1])[0], draw(of_decoder, shape=shape)[0]

    def _draw_noise(
        self, keys: PRNGKeyArray, num_steps: int, *batch: int
    ) -> Float[Array, "T N *B D"]:
        """Standard normal; a row's own does not depend on the other rows."""
        shape = (num_steps, *batch, self.config.latent)
        draw = lambda key: jax.random.normal(key, shape)  # noqa: E731
        return jax.vmap(draw, out_axes=1)(keys)
