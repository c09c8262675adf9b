"""Models of sequences: the latent flows and the language models, their baselines."""

import math
from typing import Any

import jax
from jax.core import Tracer
from jaxtyping import PRNGKeyArray

from nlf_jax.errors import UserError
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
from nlf_jax.nn.key_stream import KeyStream

# Of 4 bytes each.
MAX_PARAMETERS = 10**10

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

    Raises:
        UserError: it would have more than ``MAX_PARAMETERS``; nothing has been allocated.

    Examples:
        >>> import jax, nlf_jax
        >>> config = nlf_jax.ModelConfig(model="gated", embedding=8, hidden=8, latent=4)
        >>> network = nlf_jax.create_network(
        ...     config, num_symbols=5, max_length=10, key=jax.random.key(0)
        ... )
        >>> sum(leaf.size for leaf in jax.tree.leaves(network)) < 2000
        True
    """

    def create(key: PRNGKeyArray) -> Network:
        rngs: Any = KeyStream(key)
        return _class_of(config)(config, num_symbols, max_length, rngs=rngs)

    if isinstance(key, Tracer):
        return _of_possible_size(create(key))
    _of_possible_size(jax.eval_shape(create, key))
    return create(key)


def _of_possible_size(network: Network) -> Network:
    size = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(network))
    if size > MAX_PARAMETERS:
        raise UserError(
            f"the network would have {size:,} parameters, more than {MAX_PARAMETERS:,}: make its "
            "layers smaller or fewer."
        )
    return network


def _class_of(config: ModelConfig) -> Any:
    if config.model in LANGUAGE_MODELS:
        return LanguageModel
    return CodebookFlow if config.model == "af_codebook" else LatentFlow
