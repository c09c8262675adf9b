"""p(x_t | x_<t) of every step of a sequence."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nlf_jax.bijectors.recurrent import SequenceContext
from nlf_jax.models import CodebookFlow, LatentVariableModel, SequenceModel
from nlf_jax.models.emissions import Categorical, FrameScores
from nlf_jax.nn.position import step_mask

NUM_PROPOSALS = 48
_NUM_DRAWS, _NUM_CODES = 128, 4


def is_exact(model: SequenceModel) -> bool:
    """Whether ``conditionals`` needs no importance sampling."""
    network = model.network
    return isinstance(network, CodebookFlow) or not isinstance(network, LatentVariableModel)


def conditionals(
    model: SequenceModel, x: Array, key: PRNGKeyArray, num_proposals: int = NUM_PROPOSALS
) -> Float[np.ndarray, "T V"]:
    """p(x_t | x_{<t}, T) of every symbol; of frames the probability of every key.

    Exact for a language model; for a codebook flow where codes are apart, which is where z tells
    the symbol. For other latent flows estimated by importance sampling, from latents of x_{<t} that
    the posterior draws and later ones that the prior does. The keys of frames are means of draws.

    Args:
        x: symbols of one sequence, [T] or [T, V].
    """
    if is_exact(model):
        return np.asarray(_exact(model.network, x, key))
    return np.asarray(_estimate(model.network, x, key, num_proposals))


@jax.jit
def _exact(network: Any, x: Array, key: PRNGKeyArray) -> Float[Array, "T V"]:
    code_key, key = jax.random.split(key)
    x, length = x[:, None], jnp.array([x.shape[0]], jnp.int32)
    if not isinstance(network, CodebookFlow):
        return probabilities(network.emission, network.scores(x, length), key).mean(1)
    posterior = network.encode(x, length)
    noise = jax.random.normal(code_key, (len(x), _NUM_CODES, posterior.mean.shape[-1]))
    scores: Any = network.prior.contexts(posterior.sample(noise), SequenceContext(length))
    if not network.config.is_text:
        scores = FrameScores(scores.components, scores.features)
    return probabilities(network.language_model.emission, scores, key).mean(1)


@partial(jax.jit, static_argnums=3)
def _estimate(network: Any, x: Array, key: PRNGKeyArray, count: int) -> Float[Array, "T V"]:
    latent_key, key = jax.random.split(key)
    known = jnp.repeat(jnp.arange(len(x), dtype=jnp.int32)[:, None], count, axis=1)
    _, scores, log_weights = propose(network, x, known, jax.random.split(latent_key, len(x)))
    each = probabilities(network.emission, scores, key)
    return (jax.nn.softmax(log_weights)[..., None] * each).sum(1)


def propose(
    network: Any,
    x: Array,
    known: Int[Array, "G N"],
    keys: PRNGKeyArray,
    *,
    from_means: bool = False,
) -> tuple[Float[Array, "G N D"], Any, Float[Array, "G N"]]:
    """The first step that is not known: draws of its latent, its symbol's scores, log weights.

    Args:
        network: a ``LatentVariableModel``.
        x: symbols of one sequence, [T] or [T, V].
        known: how many of its symbols are, for N draws each in groups that are made in turn, so
            that memory does for one.
        keys: of the groups.
        from_means: the known symbols' latents are the posterior's means, not draws.
    """

    def of_group(group: tuple[Array, Array]) -> tuple[Array, Any, Array]:
        known, key = group
        noise = jax.random.normal(key, (len(x), len(known), network.latent_size))
        if from_means:
            noise = jnp.where(step_mask(known, len(x))[..., None], 0.0, noise)
        every = jnp.broadcast_to(x[:, None], (len(x), len(known), *x.shape[1:]))
        lengths = jnp.full_like(known, len(x))
        found = network.propose(every, lengths, known, noise, jnp.ones(len(x)))
        pick = lambda a: a[known, jnp.arange(len(known))]  # noqa: E731
        return pick(found[0]), jax.tree.map(pick, found[1]), found[2]

    return jax.lax.map(of_group, (known, keys))


def probabilities(emission: Any, scores: Any, key: PRNGKeyArray) -> Float[Array, "... V"]:
    """Of every symbol; of frames the share of draws in which a key sounds."""
    if emission is Categorical:
        return jax.nn.softmax(scores)
    draw = partial(emission.sample, scores, temperature=jnp.ones(()))
    shares = jax.lax.map(
        lambda key: draw(key).astype(jnp.float32), jax.random.split(key, _NUM_DRAWS)
    )
    return shares.mean(0)
