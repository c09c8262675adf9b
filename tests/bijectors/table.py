"""Every bijector and combination, tiny, for the property tests: a new one is one line here."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from nlf_jax.bijectors.base import Bijector, Chain, Inverse, Reverse
from nlf_jax.bijectors.codebook import Codebook, FrameCodebook, FrameContext
from nlf_jax.bijectors.coupling import Elementwise, SplitCoupling
from nlf_jax.bijectors.logistic_mixture import logistic_mixture
from nlf_jax.bijectors.masked_autoregressive import MaskedAutoregressive
from nlf_jax.bijectors.scalar import TRANSFORMS, inverted
from nlf_jax.models import FLOW_MODELS, ModelConfig
from nlf_jax.models.code_priors import FramePrior, SymbolPrior
from nlf_jax.models.emissions import THRESHOLD
from nlf_jax.models.priors import create_prior

SIZE, CONTEXT, STEPS = 3, 2, 4
# Of codes; theirs are so near to each other that the Jacobians are not badly conditioned.
NUM_SYMBOLS, WIDTH, MIXTURES = 5, 1.0, 2


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def features(rng, size):
    """The context of most flows across D."""
    return normal(rng, size, CONTEXT)


class Entry(NamedTuple):
    """`depends[i, j]`: whether output i may depend on input j, in both directions.

    Across D the outputs are dimensions, across T they are steps. `context`: of a flow across D,
    given a generator and a number of rows. `iterates`: it consists of so many small steps that it
    is not tested uncompiled.
    """

    make: Callable[[], Bijector]
    depends: np.ndarray
    context: Callable[[np.random.Generator, int], Any] = features
    iterates: bool = False


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


def codebook():
    return Codebook(NUM_SYMBOLS, SIZE, WIDTH, rngs=nnx.Rngs(0))


def frame_codebook():
    how = {"reverse": False, "direct": True, "rngs": nnx.Rngs(0)}
    keys = MaskedAutoregressive(SIZE, CONTEXT, 7, 1, THRESHOLD, **how)
    return FrameCodebook(keys, WIDTH, jax.nn.sigmoid)


def symbol_logits(rng, size):
    return 2 * normal(rng, size, NUM_SYMBOLS)


def frame_context(rng, size):
    return FrameContext(2 * normal(rng, size, MIXTURES, SIZE + 1), features(rng, size))


def make_config(model, **changes):
    sizes = {"hidden": 4, "latent": SIZE, "flow_layers": 2, "flow_hidden": 5, "lstm_layers": 1}
    return ModelConfig(model=model, **sizes | changes)


def model_prior(model, transform="nlsq", **changes):
    return create_prior(make_config(model, transform=transform, **changes), STEPS, nnx.Rngs(0))


def code_prior(reading, emission="categorical", recurrence="lstm"):
    changes = {"embedding": 4, "code_width": WIDTH, "code_reading": reading, "emission": emission}
    frames = {"mixtures": MIXTURES, "frame_units": 7} if emission == "bernoulli" else {}
    config = make_config("af_codebook", recurrence=recurrence, **changes, **frames)
    sizes = (config, NUM_SYMBOLS) if emission == "categorical" else (config, SIZE)
    prior = SymbolPrior if emission == "categorical" else FramePrior
    return prior(*sizes, STEPS, rngs=nnx.Rngs(0))


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
NLSQ, MIXTURE = TRANSFORMS["nlsq"], logistic_mixture(3)

ACROSS_D = {
    "reverse": Entry(Reverse, FLIPPED),
    "chain": Entry(
        lambda: Chain([made(NLSQ, False), Reverse(), coupling(NLSQ, False)]), ALL, iterates=True
    ),
    "made_of_inverted": Entry(lambda: Inverse(made(inverted(NLSQ), True)), DESCENDING),
    "elementwise_mixture": Entry(lambda: elementwise(MIXTURE), OWN, iterates=True),
    "made_mixture": Entry(lambda: made(MIXTURE, False), ASCENDING, iterates=True),
    "coupling_mixture": Entry(lambda: coupling(MIXTURE, True), LAST_KEPT, iterates=True),
    "codebook": Entry(codebook, ASCENDING, symbol_logits, iterates=True),
    "frame_codebook": Entry(frame_codebook, ASCENDING, frame_context, iterates=True),
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
        iterates=model == "af_af",
    )
    for model, transform in [*((m, "nlsq") for m in FLOW_MODELS), ("af_scf", "affine")]
}
ACROSS_T |= {
    f"{model}_gated": Entry(
        lambda m=model: model_prior(m, recurrence="gated", flow_layers=1), CAUSAL, iterates=True
    )
    for model in ("iaf_scf", "af_af")
}
ACROSS_T |= {
    "two_iaf_af": Entry(lambda: model_prior("iaf_af", "affine", temporal_layers=2), CAUSAL),
    "af_nohidden_mixture": Entry(
        lambda: model_prior("af_nohidden", "mixture", mixture_components=3), CAUSAL, iterates=True
    ),
    # `mix` reads z in both other ways too.
    "symbols": Entry(lambda: code_prior("mix", recurrence="gated"), CAUSAL, iterates=True),
    "frames": Entry(lambda: code_prior("mix", "bernoulli"), CAUSAL, iterates=True),
}

TABLE = ACROSS_D | ACROSS_T
