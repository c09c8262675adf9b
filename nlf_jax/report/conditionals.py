"""p(x_t | x_<t) of every step of a sequence."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nlf_jax.models import LanguageModel, SequenceModel
from nlf_jax.models.emissions import Categorical
from nlf_jax.nn.position import step_mask
from nlf_jax.scoring import is_exact, language_model_of

NUM_PROPOSALS = 48
_NUM_DRAWS = 128


def conditionals(
    model: SequenceModel, x: Array, key: PRNGKeyArray, num_proposals: int = NUM_PROPOSALS
) -> Float[np.ndarray, "T V"]:
    """p(x_t | x_{<t}, T) of every symbol; of frames the probability of every key.

    Exact where ``score`` is. For other latent flows estimated by importance sampling, from latents
    of x_{<t} that the posterior draws and later ones that the prior does. The keys of frames are
    means of draws.

    Args:
        x: symbols of one sequence, [T] or [T, V].
    """
    if is_exact(model.network):
        return np.asarray(_exact(language_model_of(model.network), x, key))
    return np.asarray(_estimate(model.network, x, key, num_proposals))


@jax.jit
def _exact(network: LanguageModel, x: Array, key: PRNGKeyArray) -> Float[Array, "T V"]:
    scores = network.scores(x[:, None], jnp.array([x.shape[0]], jnp.int32))
    return probabilities(network.emission, scores, key)[:, 0]


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
