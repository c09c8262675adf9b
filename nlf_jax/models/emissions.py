"""How a symbol is drawn from scores: one of V classes, V bits, alone, in mixtures or in order."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from nlf_jax.bijectors.masked_autoregressive import MaskedAutoregressive
from nlf_jax.bijectors.scalar import ScalarTransform
from nlf_jax.nn.linear import look_up, project


class Categorical:
    """Symbols are ids, int32 [T, *B]; scores are logits [T, *B, V].

    ``log p(x) = scores_x - log sum_v exp(scores_v)``.
    """

    @staticmethod
    def embed(table: Float[Array, "V E"], x: Array) -> Float[Array, "T *B E"]:
        """Embedding of every symbol."""
        return look_up(table, x)

    @staticmethod
    def log_prob(scores: Float[Array, "... V"], x: Array) -> Float[Array, "..."]:
        """log softmax(scores)[x]."""
        chosen = jnp.take_along_axis(scores, x[..., None], axis=-1)[..., 0]
        return chosen - jax.nn.logsumexp(scores, axis=-1)

    @staticmethod
    def sample(scores: Array, key: PRNGKeyArray, temperature: Array) -> Array:
        """Ids drawn from softmax(scores / temperature)."""
        return jax.random.categorical(key, scores / temperature).astype(jnp.int32)

    @staticmethod
    def mode(scores: Array) -> Array:
        """The most probable id."""
        return jnp.argmax(scores, -1).astype(jnp.int32)

    @staticmethod
    def hide(x: Array, mask: Array) -> Array:
        """Symbols with the padded steps replaced by a harmless id."""
        return jnp.where(mask, x, 0)


class Bernoulli:
    """Symbols are bit vectors [T, *B, V]; scores are logits of each bit.

    ``log p(x) = sum_v (x_v log p_v + (1 - x_v) log(1 - p_v))``, ``p_v = sigmoid(scores_v)``.
    """

    @staticmethod
    def embed(table: Float[Array, "V E"], x: Array) -> Float[Array, "T *B E"]:
        """Sum of the embeddings of the bits that are set."""
        return project(x.astype(table.dtype), table)

    @staticmethod
    def log_prob(scores: Float[Array, "... V"], x: Array) -> Float[Array, "..."]:
        """Sum over the V bits of x log p + (1 - x) log(1 - p), p = sigmoid(scores)."""
        bits = x.astype(scores.dtype)
        return (bits * scores - jax.nn.softplus(scores)).sum(-1)

    @staticmethod
    def sample(scores: Array, key: PRNGKeyArray, temperature: Array) -> Array:
        """Bits drawn from sigmoid(scores / temperature)."""
        return jax.random.bernoulli(key, jax.nn.sigmoid(scores / temperature))

    @staticmethod
    def mode(scores: Array) -> Array:
        """Bits more probable than not."""
        return scores > 0

    @staticmethod
    def hide(x: Array, mask: Array) -> Array:
        """Bits with the padded steps replaced by zeros."""
        return jnp.where(mask[..., None], x, jnp.zeros((), x.dtype))


class BernoulliMixture(Bernoulli):
    """Bits depend on each other by way of the component, one of K, that they are drawn from.

    Symbols are bit vectors [T, *B, V]; scores are [T, *B, K, V + 1]: the logits of each component's
    bits and, last, of the component itself. ``log p(x) = log sum_k pi_k prod_v p(x_v | k)``, pi the
    softmax of the last, ``p(x_v = 1 | k)`` the sigmoid of the first V.
    """

    @staticmethod
    def log_prob(scores: Float[Array, "... K V1"], x: Array) -> Float[Array, "..."]:
        """log sum_k pi_k prod_v p(x_v | k)."""
        given_component = Bernoulli.log_prob(scores[..., :-1], x[..., None, :])
        log_share = jax.nn.log_softmax(scores[..., -1], axis=-1)
        return jax.nn.logsumexp(log_share + given_component, axis=-1)

    @staticmethod
    def sample(scores: Array, key: PRNGKeyArray, temperature: Array) -> Array:
        """A component, then its bits, both from scores / temperature."""
        component_key, bit_key = jax.random.split(key)
        chosen = BernoulliMixture.choose_component(scores, component_key, temperature)
        return Bernoulli.sample(chosen, bit_key, temperature)

    @staticmethod
    def choose_component(
        scores: Float[Array, "... K V1"], key: PRNGKeyArray, temperature: Array
    ) -> Float[Array, "... V"]:
        """Logits of the bits of a component that is drawn."""
        component = Categorical.sample(scores[..., -1], key, temperature)
        return jnp.take_along_axis(scores, component[..., None, None], axis=-2)[..., 0, :-1]

    @staticmethod
    def mode(scores: Array) -> Array:
        """Of the components' modes the one that is most probable in the mixture."""
        modes = Bernoulli.mode(scores[..., :-1])
        log_probs = BernoulliMixture.log_prob(scores[..., None, :, :], modes)
        return _best_of(modes, log_probs)


def _best_of(symbols: Shaped[Array, "... K V"], log_probs: Float[Array, "... K"]) -> Array:
    best = jnp.argmax(log_probs, -1)[..., None, None]
    return jnp.take_along_axis(symbols, best, axis=-2)[..., 0, :]


class FrameScores(NamedTuple):
    """Scores of ``AutoregressiveBernoulli``."""

    components: Float[Array, "... K V1"]
    """As for ``BernoulliMixture``, without what the lower bits add to a bit's logit."""
    features: Float[Array, "... F"]
    """What decides, with the lower bits, on that."""


def _threshold(raw: Float[Array, "... 1"], x: Float[Array, "..."]) -> tuple[Array, Array]:
    """1 where the sum is positive, else 0; has no inverse and no log-determinant."""
    return (raw[..., 0] + x > 0).astype(x.dtype), jnp.zeros_like(x)


THRESHOLD = ScalarTransform(1, forward_and_log_det=_threshold, inverse_and_log_det=_threshold)


@dataclasses.dataclass(frozen=True)
class AutoregressiveBernoulli:
    """Bits depend on the component they are drawn from and, one by one, on the bits below.

    ``log p(x) = log sum_k pi_k prod_v p(x_v | x_{<v}, k)`` with
    ``p(x_v = 1 | x_{<v}, k) = sigmoid(l_kv + net_v(x_{<v}, features))``, l and pi as for
    ``BernoulliMixture``.

    The net is masked (MADE; Germain et al., 2015). This is RNN-NADE
    (Boulanger-Lewandowski et al., 2012) with MADE in the place of NADE, and a mixture of such.
    Symbols are bit vectors [T, *B, V]; to draw them takes V steps, one for a bit, whatever T is.
    """

    keys: MaskedAutoregressive

    embed = staticmethod(Bernoulli.embed)
    hide = staticmethod(Bernoulli.hide)

    def log_prob(self, scores: FrameScores, x: Array) -> Float[Array, "..."]:
        """log sum_k pi_k prod_v p(x_v | x_{<v}, k)."""
        return BernoulliMixture.log_prob(self.conditionals(scores, x), x)

    def conditionals(
        self, scores: FrameScores, bits: Float[Array, "... V"]
    ) -> Float[Array, "... K V1"]:
        """Scores of each component in which a bit's logit is that given the bits below."""
        components, features = scores
        shift = self.keys.net(bits.astype(components.dtype), features)[..., 0]
        shift = jnp.pad(shift, [(0, 0)] * (shift.ndim - 1) + [(0, 1)])
        return components + shift[..., None, :]

    def sample(self, scores: FrameScores, key: PRNGKeyArray, temperature: Array) -> Array:
        """A component, then its bits one after the other, all from scores / temperature."""
        component_key, bit_key = jax.random.split(key)
        logits = BernoulliMixture.choose_component(scores.components, component_key, temperature)
        noise = temperature * jax.random.logistic(bit_key, logits.shape, logits.dtype)
        return self._in_order(logits + noise, scores.features)

    def mode(self, scores: FrameScores) -> Array:
        """Bit after bit the more probable value, for the component where that is most probable."""
        logits, features = scores.components[..., :-1], scores.features[..., None, :]
        modes = self._in_order(logits, features)
        each = FrameScores(scores.components[..., None, :, :], features)
        return _best_of(modes, self.log_prob(each, modes))

    def _in_order(self, logits: Float[Array, "*n V"], features: Float[Array, "*n F"]) -> Array:
        features = jnp.broadcast_to(features, (*logits.shape[:-1], features.shape[-1]))
        bits, _ = self.keys.forward_and_log_det(logits, features)
        return bits > 0


Scores = Array | FrameScores
Emission = type[Categorical] | type[Bernoulli] | AutoregressiveBernoulli


def choose(
    emission: Emission,
    scores: Any,
    key: PRNGKeyArray,
    temperature: Float[Array, ""],
    greedy: bool,
) -> Array:
    """The most probable symbols if ``greedy``, else drawn ones."""
    return emission.mode(scores) if greedy else emission.sample(scores, key, temperature)
