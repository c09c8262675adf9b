"""Latent normalizing flows for discrete sequences: train, score and sample them in JAX.

``load`` a trained model from its workdir, then ``sample`` from it or score sequences with ``elbo``
and ``importance_weighted_nll``. All of them are pure functions of (model, arrays, key).
"""

from nlf_jax.errors import UserError
from nlf_jax.latents import continue_from, interpolate, reconstruct
from nlf_jax.models import (
    CodebookFlow,
    LanguageModel,
    LatentFlow,
    ModelConfig,
    SequenceModel,
    create_network,
)
from nlf_jax.objectives import Elbo, elbo, importance_weighted_nll
from nlf_jax.sampling import Samples, sample
from nlf_jax.training.checkpoints import load

__version__ = "0.1.0"
__all__ = [
    "CodebookFlow",
    "Elbo",
    "LanguageModel",
    "LatentFlow",
    "ModelConfig",
    "Samples",
    "SequenceModel",
    "UserError",
    "continue_from",
    "create_network",
    "elbo",
    "importance_weighted_nll",
    "interpolate",
    "load",
    "reconstruct",
    "sample",
]
