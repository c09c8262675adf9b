"""Every bijector and combination, tiny, for the property tests: a new one is one line here."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from nlf_jax.bijectors.base import Bijector, Chain, Inverse, Reverse
from nlf_jax.bijectors.coupling import Elementwise, SplitCoupling
from nlf_jax.bijectors.masked_autoregressive import MaskedAutoregressive
from nlf_jax.bijectors.scalar import TRANSFORMS, inverted
from nlf_jax.models import FLOW_MODELS, ModelConfig
from nlf_jax.models.priors import create_prior

SIZE, CONTEXT, STEPS = 3, 2, 4


class Entry(NamedTuple):
    """`depends[i, j]`: whether output i may depend on input j, in both directions.

    Across D the outputs are dimensions, across T (`sequence`) they are steps.
    """

    make: Callable[[], Bijector]
    depends: np.ndarray
    sequence: bool = False


def drawn(make, seed, scale):
    """What `make` makes, with all parameters from N(0, scale^2); its own are never computed."""
    rng = np.random.default_rng(seed)

    def draw(leaf):
        return jnp.asarray(scale * rng.standard_normal(leaf.shape), jnp.float32)

    return jax.tree.map(draw, jax.eval_shape(make))


def made(transform, reverse):
    sizes = (SIZE, CONTEXT, 7, 2)
    return MaskedAutoregressive(*sizes, transform, reverse=reverse, rngs=nnx.Rngs(0))


def coupling(transform, reverse):
    return SplitCoupling(SIZE, CONTEXT, 7, 2, transform, reverse=reverse, rngs=nnx.Rngs(0))


def elementwise(transform):
    return Elementwise(SIZE, CONTEXT, transform, rngs=nnx.Rngs(0))


def model_prior(model, transform, temporal_layers=1):
    config = ModelConfig(
        model=model,
        hidden=4,
        latent=SIZE,
        flow_layers=2,
        flow_hidden=5,
        lstm_layers=1,
        transform=transform,
        temporal_layers=temporal_layers,
    )
    return create_prior(config, STEPS, nnx.Rngs(0))


ASCENDING = np.tril(np.ones((SIZE, SIZE), bool))
DESCENDING = ASCENDING.T
OWN, ALL, FLIPPED = (
    np.eye(SIZE, dtype=bool),
    np.ones_like(ASCENDING),
    np.eye(SIZE, dtype=bool)[::-1],
)
FIRST_KEPT = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 1]], bool)
LAST_KEPT = FIRST_KEPT[::-1, ::-1]
CAUSAL, NO_OTHER_STEP = np.tril(np.ones((STEPS, STEPS), bool)), np.eye(STEPS, dtype=bool)
NLSQ = TRANSFORMS["nlsq"]

ACROSS_D = {
    "reverse": Entry(Reverse, FLIPPED),
    "chain": Entry(lambda: Chain([made(NLSQ, False), Reverse(), coupling(NLSQ, False)]), ALL),
    "made_of_inverted": Entry(lambda: Inverse(made(inverted(NLSQ), True)), DESCENDING),
}
for _name, _transform in TRANSFORMS.items():
    ACROSS_D |= {
        f"elementwise_{_name}": Entry(lambda t=_transform: elementwise(t), OWN),
        f"made_{_name}": Entry(lambda t=_transform: made(t, False), ASCENDING),
        f"made_reverse_{_name}": Entry(lambda t=_transform: made(t, True), DESCENDING),
        f"coupling_{_name}": Entry(lambda t=_transform: coupling(t, False), FIRST_KEPT),
        f"coupling_reverse_{_name}": Entry(lambda t=_transform: coupling(t, True), LAST_KEPT),
    }

ACROSS_T = {
    f"{model}_{transform}": Entry(
        lambda m=model, t=transform: model_prior(m, t),
        NO_OTHER_STEP if model == "af_only" else CAUSAL,
        sequence=True,
    )
    for model, transform in [*((m, "nlsq") for m in FLOW_MODELS), ("af_scf", "affine")]
}
ACROSS_T["two_iaf_af"] = Entry(lambda: model_prior("iaf_af", "affine", 2), CAUSAL, sequence=True)

TABLE = ACROSS_D | ACROSS_T
