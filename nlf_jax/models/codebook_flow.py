"""The codebook flow: a language model with exact latents."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nlf_jax.bijectors.base import Bijector
from nlf_jax.bijectors.codebook import (
    Codebook,
    FrameCodebook,
    FrameContext,
    component_fits,
)
from nlf_jax.bijectors.masked_autoregressive import in_order
from nlf_jax.bijectors.recurrent import SequenceContext, TimeAutoregressive
from nlf_jax.models.base import Gaussian, LatentVariableModel, Terms, for_samples
from nlf_jax.models.config import ModelConfig
from nlf_jax.models.emissions import BernoulliMixture, Categorical, FrameScores
from nlf_jax.models.language_model import LanguageModel
from nlf_jax.nn.axes import varying_like
from nlf_jax.nn.keys import split_each, split_for_steps
from nlf_jax.nn.linear import project, uniform
from nlf_jax.nn.position import step_mask
from nlf_jax.nn.summary import Summariser


class CodePrior(TimeAutoregressive):
    """Prior of codes: a language model that reads z in place of the symbols."""

    def __init__(self, config: ModelConfig, num_symbols: int, max_length: int, *, rngs: nnx.Rngs):
        self.config, self.dropout = config, config.dropout
        self.language_model = LanguageModel(config, num_symbols, max_length, rngs=rngs)
        mixes = config.code_reading == "mix"
        self.share = nnx.Param(jnp.zeros((), jnp.float32)) if mixes else None

    @property
    def summariser(self) -> Summariser:
        """The language model's."""
        return self.language_model.summariser

    def codes_of(self, x: Array) -> Float[Array, "T *B D"]:
        """The symbols' codes."""
        raise NotImplementedError

    def encode(self, x: Array) -> Gaussian:
        """q(z | x): the symbols' codes, with the width sigma."""
        mean = self.codes_of(x)
        return Gaussian(mean, jnp.full_like(mean, 2 * jnp.log(self.config.code_width)))

    @property
    def code_distance(self) -> Float[Array, ""]:
        """Between the codes that are nearest to each other, in units of sigma."""
        raise NotImplementedError

    def conditionals(self, z: Float[Array, "T *B D"], context: Any) -> Array:
        """Scores of p(x_t | z_{<t}), given what the flow is given.

        Their log-probability of x_t is ``log p(x_t, z_t | z_{<t}) - log q(z_t | x_t)``.
        """
        raise NotImplementedError

    def scores(self, z: Float[Array, "T *B D"], conditionals: Array) -> Array:
        """Scores of p(x_t | z): by Bayes' rule from those of p(x_t | z_{<t})."""
        raise NotImplementedError

    def draw(
        self, context: Any, keys: PRNGKeyArray, noise: Float[Array, "N D"]
    ) -> tuple[Array, Float[Array, "N D"]]:
        """A symbol of a step and its code with noise: x_t, z_t from p(x_t, z_t | z_{<t}).

        What the flow makes of noise has the same distribution; this solves no equation.

        Args:
            context: what the flow is given.
            keys: [N].
        """
        raise NotImplementedError


class SymbolPrior(CodePrior):
    """``p(z_t | z_{<t}) = sum_k pi_k N(z_t; mu_k, sigma^2 I)``, pi by a language model.

    The language model reads of z_t, by ``config.code_reading``: ``denoised`` the mean embedding
    ``sum_k r_k E_k`` with the probability ``r_k`` that z_t is symbol k's, all being as likely;
    ``raw`` a linear map of z_t; ``mix`` both, in a learned share.
    """

    def __init__(self, config: ModelConfig, num_symbols: int, max_length: int, *, rngs: nnx.Rngs):
        super().__init__(config, num_symbols, max_length, rngs=rngs)
        self.codebook = Codebook(num_symbols, config.latent, config.code_width, rngs=rngs)
        reads_raw = config.code_reading != "denoised"
        sizes, bound = (config.latent, config.embedding), 0.1 * (3 / config.latent) ** 0.5
        self.raw = uniform(rngs, sizes, bound) if reads_raw else None

    @property
    def flow(self) -> Bijector:
        """See ``TimeAutoregressive``."""
        return self.codebook

    def inputs(self, z):
        """See ``TimeAutoregressive``."""
        if self.raw is None:
            return self._denoised(z)
        raw = self.summariser.inputs(project(z, self.raw[...]))
        return raw if self.share is None else _mix(self.share[...], self._denoised(z), raw)

    def _denoised(self, z: Array) -> Array:
        shares = jax.nn.softmax(self.codebook.log_likelihood(z))
        return project(shares, self.language_model.symbol_inputs())

    def flow_context(self, summary, temperature):
        """Logits of pi."""
        logits = self.language_model.scores_of(summary)
        return logits if temperature is None else logits / temperature

    def codes_of(self, x: Int[Array, "T *B"]) -> Float[Array, "T *B D"]:
        """``mu_{x_t}``."""
        return Categorical.embed(self.codebook.codes, x)

    @property
    def code_distance(self):
        """See ``CodePrior``."""
        codes = self.codebook.codes
        norms = jnp.square(codes).sum(-1)
        squares = norms[:, None] + norms[None] - 2 * codes @ codes.T
        squares = jnp.where(jnp.eye(len(codes), dtype=bool), jnp.inf, squares)
        return jnp.sqrt(jnp.maximum(squares.min(), 0.0)) / self.config.code_width

    def conditionals(self, z, context):
        """log pi, up to a constant."""
        del z
        return context

    def scores(self, z, conditionals):
        """Of symbol k: ``pi_k N(z_t; mu_k, sigma^2 I)``."""
        return conditionals + self.codebook.log_likelihood(z)

    def draw(self, context, keys, noise):
        """See ``CodePrior``."""
        x = jax.vmap(jax.random.categorical)(keys, context).astype(jnp.int32)
        return x, self.encode(x).sample(noise)


class FramePrior(CodePrior):
    """The prior of frames' codes, see ``FrameCodebook``; each key's code is 1 or -1.

    Of z it reads, by ``config.code_reading``: ``denoised`` the probability that a key sounds given
    its code alone, ``raw`` (z + 1) / 2, ``mix`` both, in a learned share.
    """

    @property
    def flow(self) -> Bijector:
        """See ``TimeAutoregressive``."""
        out: Any = self.language_model.out
        return FrameCodebook(out.keys, self.config.code_width, self.read)

    def read(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """What is read of a key's code."""
        denoised = jax.nn.sigmoid(2 * z / self.config.code_width**2)
        if self.config.code_reading == "denoised":
            return denoised
        raw = 0.5 * (z + 1)
        return raw if self.share is None else _mix(self.share[...], denoised, raw)

    def inputs(self, z):
        """See ``TimeAutoregressive``."""
        model = self.language_model
        return model.emission.embed(model.symbol_inputs(), self.read(z))

    def flow_context(self, summary, temperature):
        """See ``FrameContext``."""
        components, features = self.language_model.scores_of(summary)
        if temperature is None:
            return FrameContext(components, features)
        scale = jnp.broadcast_to(1 / temperature, (*features.shape[:-1], 1))
        return FrameContext(components * scale[..., None], features, scale)

    def codes_of(self, x: Float[Array, "T *B V"]) -> Float[Array, "T *B V"]:
        """``2 x_t - 1``."""
        return 2.0 * x.astype(jnp.float32) - 1.0

    @property
    def code_distance(self):
        """See ``CodePrior``."""
        return jnp.asarray(2 / self.config.code_width, jnp.float32)

    def conditionals(self, z, context):
        """Each component's logits, of a key given what is read of the keys below it."""
        scores = FrameScores(context.components, context.features)
        return self.language_model.emission.conditionals(scores, self.read(z))

    def scores(self, z, conditionals):
        """Given its component and z, each key is on or off by itself."""
        width = self.config.code_width
        logits, component = conditionals[..., :-1], conditionals[..., -1]
        component += component_fits(logits, z[..., None, :], width).sum(-1)
        logits += 2 * z[..., None, :] / width**2
        return jnp.concatenate([logits, component[..., None]], axis=-1)

    def draw(self, context, keys, noise):
        """See ``CodePrior``: a component, then key after key, each given what is read of z."""
        component_keys, bit_keys = split_each(keys)
        one, choose = jnp.ones((), jnp.float32), BernoulliMixture.choose_component
        logits = jax.vmap(choose, (0, 0, None))(context.components, component_keys, one)
        logits += jax.vmap(lambda key: jax.random.logistic(key, logits.shape[1:], jnp.float32))(
            bit_keys
        )
        logits = jnp.moveaxis(logits, -1, 0)

        def transform(number, raw, noise_v):
            of_key = jax.lax.dynamic_index_in_dim(logits, number, keepdims=False)
            bit = of_key + context.scaled(raw)[..., 0] > 0
            z_v = jnp.where(bit, 1.0, -1.0) + self.config.code_width * noise_v
            return number + 1, z_v, self.read(z_v), bit

        out: Any = self.language_model.out
        _, z, x = in_order(out.keys.net, context.features, transform, 0, noise)
        return x, z


def _mix(raw_share: Array, first: Array, second: Array) -> Array:
    share = jax.nn.sigmoid(raw_share)
    return share * first + (1 - share) * second


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
        """See ``LatentFlow.terms_by_step``."""
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
        # Only the bound is learned from, which is the difference of the two terms.
        reconstruction = jax.lax.stop_gradient(reconstruction)
        return jnp.where(mask, reconstruction, 0.0), jnp.where(mask, bound, 0.0)

    @property
    def code_distance(self) -> Float[Array, ""]:
        """Between the codes that are nearest to each other, in units of sigma."""
        return self.prior.code_distance
