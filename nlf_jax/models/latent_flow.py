"""The latent flow model: posterior, flow prior and likelihood of one sequence."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from nlf_jax.bijectors.recurrent import SequenceContext
from nlf_jax.models.base import Gaussian, LatentVariableModel, Terms, for_samples
from nlf_jax.models.config import ModelConfig
from nlf_jax.models.emissions import Categorical, Scores
from nlf_jax.models.factorised import FactorisedPosterior, FrameLikelihood, SymbolLikelihood
from nlf_jax.models.outputs import create_output, emission_of
from nlf_jax.models.priors import create_prior
from nlf_jax.nn.gated import BiGated
from nlf_jax.nn.keys import split_each
from nlf_jax.nn.linear import Linear, uniform
from nlf_jax.nn.lstm import BiLSTM, Inputs, dropout_factors
from nlf_jax.nn.position import step_mask


class StepTerms(NamedTuple):
    """The same for every step before the sum; meaningless at padded steps."""

    reconstruction: Float[Array, "T *B"]
    log_posterior: Float[Array, "T *B"]
    log_prior: Float[Array, "T *B"]


BIDIRECTIONAL = {"lstm": BiLSTM, "gated": BiGated}


class Posterior(nnx.Module):
    """q(z | x): BiLSTM over [embedding, position], then a Gaussian per step."""

    def __init__(self, config: ModelConfig, max_length: int, rngs: nnx.Rngs):
        sizes = (config.embedding, config.hidden, config.lstm_layers, max_length)
        network = BIDIRECTIONAL[config.recurrence]
        self.encoder = network(*sizes, products=config.products, rngs=rngs)
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
        network = BIDIRECTIONAL[config.recurrence]
        self.decoder = network(*sizes, products=config.products, rngs=rngs)
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


class LatentFlow(LatentVariableModel):
    """Latent normalizing flow for discrete sequences (Ziegler & Rush, 2019).

    z ~ flow prior given the length; x_t ~ emission given z and the length, independently.

    Examples:
        >>> import jax, nlf_jax
        >>> config = nlf_jax.ModelConfig(model="af_scf", embedding=8, hidden=8, latent=4)
        >>> network = nlf_jax.create_network(
        ...     config, num_symbols=5, max_length=10, key=jax.random.key(0)
        ... )
        >>> type(network).__name__, network.emission.__name__
        ('LatentFlow', 'Categorical')
    """

    def __init__(self, config: ModelConfig, num_symbols: int, max_length: int, *, rngs: nnx.Rngs):
        self.config, self.max_length = config, max_length
        self.embedding = uniform(rngs, (num_symbols, config.embedding), 0.07)
        factorised = config.posterior == "factorised"
        if factorised:
            self.posterior = FactorisedPosterior(config, rngs)
        else:
            self.posterior = Posterior(config, max_length, rngs)
        self.prior = create_prior(config, max_length, rngs)
        if not factorised:
            self.likelihood = Likelihood(config, num_symbols, max_length, rngs)
        elif config.is_text:
            self.likelihood = SymbolLikelihood(num_symbols)
        else:
            self.likelihood = FrameLikelihood(config, num_symbols, rngs)

    @property
    def emission(self):
        """The family of p(x_t | z)."""
        if isinstance(self.likelihood, SymbolLikelihood):
            return Categorical
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
        if isinstance(self.likelihood, SymbolLikelihood):
            return self.likelihood(z, self._of_each_symbol())
        features = self.likelihood.features(z, length, dropout)
        return self.likelihood.out(features, self.embedding[...])

    def _of_each_symbol(self) -> Gaussian:
        """The factorised q(z | x = k) of every symbol k, [V, D]."""
        every, row = jnp.arange(self.embedding.shape[0]), jnp.ones((), jnp.int32)
        return self.encode(every, row * every.size)

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
        steps = self._batch_step_terms(x, lengths, keys, num_samples, train)
        total = jax.tree.map(lambda term: term.sum(0), steps)
        return Terms(total.reconstruction, total.log_posterior - total.log_prior)

    def terms_by_step(
        self, x: Array, lengths: Int[Array, "B"], keys: PRNGKeyArray, *, num_samples: int
    ) -> Terms:
        """See ``Network``."""
        steps = self._batch_step_terms(x, lengths, keys, num_samples, train=False)
        return Terms(steps.reconstruction, steps.log_posterior - steps.log_prior)

    def _batch_step_terms(
        self, x: Array, lengths: Int[Array, "B"], keys: PRNGKeyArray, num_samples: int, train: bool
    ) -> StepTerms:
        """See ``terms``; each [T, B, S], 0 at padded steps."""
        x, num_steps = jnp.swapaxes(x, 0, 1), x.shape[1]
        noise_keys, prior_keys, vae_keys = split_each(keys, 3)
        noise = self._draw_noise(noise_keys, num_steps, num_samples)
        of_encoder, of_decoder = self._vae_dropout(vae_keys, noise.shape[:-1], train)
        posterior = self.encode(x, lengths, dropout=of_encoder)
        posterior, x, lengths = for_samples(posterior, x, lengths)
        of_prior = prior_keys if train else None
        steps = self.step_terms(x, lengths, posterior, noise, of_prior, of_decoder)
        mask = step_mask(lengths, num_steps)
        return jax.tree.map(lambda term: jnp.where(mask, term, 0.0), steps)

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
