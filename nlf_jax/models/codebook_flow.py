"""The codebook flow: a language model with exact latents."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nlf_jax.bijectors.recurrent import SequenceContext
from nlf_jax.models.base import LatentVariableModel, Terms, for_samples
from nlf_jax.models.code_priors import FramePrior, SymbolPrior
from nlf_jax.models.config import ModelConfig
from nlf_jax.models.emissions import BernoulliMixture, Categorical
from nlf_jax.models.language_model import LanguageModel
from nlf_jax.nn.axes import varying_like
from nlf_jax.nn.keys import split_each, split_for_steps
from nlf_jax.nn.position import step_mask


class CodebookFlow(LatentVariableModel):
    """A latent flow whose posterior is a code for every symbol, with noise.

    The posterior doesn't look at other steps, and the prior has the codes built in, so the bound of
    a step, ``log p(x_t, z_t | z_{<t}) - log q(z_t | x_t)``, is the log-probability that a language
    model which reads z gives to x_t. Where it reads z denoised and the codes are apart, this is the
    language model on the same weights, to rounding.

    Examples:
        >>> import jax, nlf_jax
        >>> config = nlf_jax.ModelConfig(model="af_codebook", embedding=8, hidden=8, latent=4)
        >>> network = nlf_jax.create_network(
        ...     config, num_symbols=5, max_length=10, key=jax.random.key(0)
        ... )
        >>> network.prior.codebook.codes.shape  # [V, D]
        (5, 4)
    """

    def __init__(self, config: ModelConfig, num_symbols: int, max_length: int, *, rngs: nnx.Rngs):
        self.config, self.max_length = config, max_length
        prior = SymbolPrior if config.is_text else FramePrior
        self.prior = prior(config, num_symbols, max_length, rngs=rngs)

    @property
    def language_model(self) -> LanguageModel:
        """The language model whose special case this is."""
        return self.prior.language_model

    @property
    def embedding(self) -> Float[Array, "V E"]:
        """Of the symbols."""
        return self.language_model.embedding[...]

    @property
    def emission(self):
        """The family of p(x_t | z)."""
        return Categorical if self.config.is_text else BernoulliMixture

    @property
    def latent_size(self) -> int:
        """D, for frames the number of keys."""
        text = self.config.is_text
        return self.config.latent if text else self.embedding.shape[0]

    def encode(self, x, length, known=None):
        """See ``LatentVariableModel``."""
        mask = step_mask(length if known is None else known, x.shape[0])
        return self.prior.encode(self.emission.hide(x, mask))

    def generate(self, lengths, num_steps, keys, temperature, greedy):
        """See ``Network``: symbol after symbol, each with its code, which the next ones read."""
        write_keys, mode_keys = split_each(keys)
        text = self.config.is_text
        nothing = jnp.zeros(0, jnp.int32) if text else jnp.zeros((0, self.latent_size), bool)
        x, z = self._write(nothing, lengths, num_steps, write_keys, temperature)
        if greedy:
            return self.draw(self.scores(z, lengths), mode_keys, temperature, greedy)
        return jnp.swapaxes(x, 0, 1)

    def continuation(self, opening, lengths, num_steps, keys, temperature, greedy):
        """See ``Network``: as ``generate``; the weights are the opening's probabilities."""
        num_known = opening.shape[0]
        write_keys, mode_keys = split_each(keys)
        x, z = self._write(opening, lengths, num_steps, write_keys, temperature)
        conditionals = self.prior.conditionals(z, self.prior.contexts(z, SequenceContext(lengths)))
        log_weights = self.emission.log_prob(conditionals, x)[:num_known].sum(0)
        x = jnp.swapaxes(x, 0, 1)
        if greedy:
            modes = self.draw(self.prior.scores(z, conditionals), mode_keys, temperature, greedy)
            x = jnp.concatenate([x[:, :num_known], modes[:, num_known:]], axis=1)
        return x, log_weights

    def _write(
        self, opening: Array, lengths: Array, num_steps: int, keys: PRNGKeyArray, temperature: Array
    ) -> tuple[Array, Float[Array, "T N D"]]:
        """x [T, N, ..], the symbols after the opening drawn, and z, whose noise is always drawn."""
        prior, network, num_known = self.prior, self.prior.summariser, opening.shape[0]
        noise_keys, symbol_keys = split_each(keys)
        x = jnp.pad(opening, [(0, num_steps - num_known)] + [(0, 0)] * (opening.ndim - 1))
        x = jnp.broadcast_to(x[:, None], (num_steps, *lengths.shape, *x.shape[1:]))
        carry, per_step = network.start(lengths, x.shape[:2])

        def step(carry, inputs):
            known, x_t, noise_t, keys_t, of_step = inputs
            drawn, z_t = prior.draw(prior.flow_context(carry.summary, temperature), keys_t, noise_t)
            x_t = jnp.where(known, x_t, drawn)
            z_t = jnp.where(known, prior.encode(x_t).sample(noise_t), z_t)
            return network.advance(carry, prior.inputs(z_t), of_step), (x_t, z_t)

        noise = self._draw_noise(noise_keys, num_steps)
        is_known = jnp.arange(num_steps) < num_known
        steps = (is_known, x, noise, split_for_steps(symbol_keys, num_steps), per_step)
        return jax.lax.scan(step, varying_like(carry, steps, temperature, self), steps)[1]

    def tempered(self, noise, length, temperatures):
        """See ``LatentVariableModel``; the noise keeps its size, or z would lie between codes."""
        return noise, SequenceContext(length, temperatures=temperatures)

    def scores(self, z, length):
        """See ``LatentVariableModel``."""
        z = jnp.where(step_mask(length, z.shape[0])[..., None], z, 0.0)
        contexts = self.prior.contexts(z, SequenceContext(length))
        return self.prior.scores(z, self.prior.conditionals(z, contexts))

    def terms(
        self,
        x: Array,
        lengths: Int[Array, "B"],
        keys: PRNGKeyArray,
        *,
        num_samples: int,
        train: bool = False,
    ) -> Terms:
        """See ``LatentFlow.terms``."""
        steps = self._batch_step_terms(x, lengths, keys, num_samples, train)
        reconstruction, bound = (term.sum(0) for term in steps)
        return Terms(reconstruction, reconstruction - bound)

    def terms_by_step(
        self, x: Array, lengths: Int[Array, "B"], keys: PRNGKeyArray, *, num_samples: int
    ) -> Terms:
        """See ``Network``."""
        steps = self._batch_step_terms(x, lengths, keys, num_samples, train=False)
        return Terms(steps[0], steps[0] - steps[1])

    def _batch_step_terms(
        self, x: Array, lengths: Int[Array, "B"], keys: PRNGKeyArray, num_samples: int, train: bool
    ) -> tuple[Float[Array, "T B S"], Float[Array, "T B S"]]:
        """Reconstruction and bound of every step; 0 at padded steps."""
        x, num_steps = jnp.swapaxes(x, 0, 1), x.shape[1]
        noise_keys, dropout_keys = split_each(keys)
        noise = self._draw_noise(noise_keys, num_steps, num_samples)
        posterior, x, lengths = for_samples(self.encode(x, lengths), x, lengths)
        mask = step_mask(lengths, num_steps)
        x = self.emission.hide(x, mask)
        z = posterior.sample(noise)
        context = SequenceContext(lengths, dropout_keys if train else None)
        conditionals = self.prior.conditionals(z, self.prior.contexts(z, context))
        bound = self.emission.log_prob(conditionals, x)
        reconstruction = self.emission.log_prob(self.prior.scores(z, conditionals), x)
        return jnp.where(mask, reconstruction, 0.0), jnp.where(mask, bound, 0.0)

    @property
    def code_distance(self) -> Float[Array, ""]:
        """Between the codes that are nearest to each other, in units of sigma."""
        return self.prior.code_distance
