"""Latent normalizing flows for discrete sequences: train, score and sample them in JAX.

``fit`` a model to sequences, or ``load`` a trained one, then ``sample`` from it or ``score``
sequences; ``elbo`` and ``importance_weighted_nll`` are pure functions of (model, arrays, key).
"""

import importlib
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from nlf_jax.scoring import Score, score
    from nlf_jax.training.config import TrainConfig
    from nlf_jax.training.fit import Fit, fit
    from nlf_jax.training.loading import load

# Imported on first use: what they need takes seconds to load.
_LATER = {
    "score": "nlf_jax.scoring",
    "Score": "nlf_jax.scoring",
    "load": "nlf_jax.training.loading",
    "fit": "nlf_jax.training.fit",
    "Fit": "nlf_jax.training.fit",
    "TrainConfig": "nlf_jax.training.config",
}

__version__ = "0.1.0"
__all__ = [
    "CodebookFlow",
    "Elbo",
    "Fit",
    "LanguageModel",
    "LatentFlow",
    "ModelConfig",
    "Samples",
    "Score",
    "SequenceModel",
    "TrainConfig",
    "UserError",
    "continue_from",
    "create_network",
    "elbo",
    "fit",
    "importance_weighted_nll",
    "interpolate",
    "load",
    "reconstruct",
    "sample",
    "score",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
