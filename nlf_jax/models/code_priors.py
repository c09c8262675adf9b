"""Priors of the codebook flow: language models that read codes in place of symbols."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nlf_jax.bijectors.base import Bijector
from nlf_jax.bijectors.codebook import Codebook, FrameCodebook, FrameContext, component_fits
from nlf_jax.bijectors.masked_autoregressive import in_order
from nlf_jax.bijectors.recurrent import TimeAutoregressive
from nlf_jax.models.base import Gaussian
from nlf_jax.models.config import ModelConfig
from nlf_jax.models.emissions import BernoulliMixture, Categorical, FrameScores
from nlf_jax.models.language_model import LanguageModel
from nlf_jax.nn.keys import split_each
from nlf_jax.nn.linear import project, uniform
from nlf_jax.nn.summary import Summariser


class CodePrior(TimeAutoregressive):
    """Prior of codes: a language model that reads z in place of the symbols."""

    def __init__(self, config: ModelConfig, num_symbols: int, max_length: int, *, rngs: nnx.Rngs):
        self.config, self.dropout = config, config.dropout
        # As every prior's, its products are not rounded.
        exact = dataclasses.replace(config, products="float32")
        self.language_model = LanguageModel(exact, num_symbols, max_length, rngs=rngs)
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
        squares = norms[:, None] + norms[None] - 2 * project(codes, codes.T)
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
