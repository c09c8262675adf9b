"""Models of sequences: the latent flows and the language models, their baselines."""

from flax import nnx
from jaxtyping import PRNGKeyArray

from nlf_jax.models.base import LatentVariableModel, Terms
from nlf_jax.models.codebook_flow import CodebookFlow
from nlf_jax.models.config import (
    FLOW_MODELS,
    LANGUAGE_MODELS,
    LATENT_MODELS,
    MODELS,
    ModelConfig,
)
from nlf_jax.models.language_model import LanguageModel
from nlf_jax.models.latent_flow import LatentFlow
from nlf_jax.models.sequence_model import Network, SequenceModel

__all__ = [
    "FLOW_MODELS",
    "LANGUAGE_MODELS",
    "LATENT_MODELS",
    "MODELS",
    "CodebookFlow",
    "LanguageModel",
    "LatentFlow",
    "LatentVariableModel",
    "ModelConfig",
    "SequenceModel",
    "Terms",
    "create_network",
]


def create_network(
    config: ModelConfig, *, num_symbols: int, max_length: int, key: PRNGKeyArray
) -> Network:
    """A freshly initialised network; all its leaves are float32 parameters.

    Args:
        num_symbols: V, padding and unknown included.
        max_length: the longest sequence that it has to deal with.
    """
    network = LatentFlow
    if config.model in LANGUAGE_MODELS:
        network = LanguageModel
    elif config.model == "af_codebook":
        network = CodebookFlow
    return network(config, num_symbols, max_length, rngs=nnx.Rngs(params=key))
