"""Models of sequences: the latent flow and the LSTM baseline."""

from flax import nnx
from jaxtyping import PRNGKeyArray

from nlf_jax.models.config import FLOW_MODELS, MODELS, ModelConfig
from nlf_jax.models.latent_flow import LatentFlow, Terms
from nlf_jax.models.lstm_lm import LSTMLanguageModel
from nlf_jax.models.sequence_model import SequenceModel

__all__ = [
    "FLOW_MODELS",
    "MODELS",
    "LSTMLanguageModel",
    "LatentFlow",
    "ModelConfig",
    "SequenceModel",
    "Terms",
    "create_network",
]


def create_network(
    config: ModelConfig, *, num_symbols: int, max_length: int, key: PRNGKeyArray
) -> LatentFlow | LSTMLanguageModel:
    """A freshly initialised network; all its leaves are float32 parameters.

    Args:
        num_symbols: V, padding and unknown included.
        max_length: the longest sequence that it has to deal with.
    """
    network = LSTMLanguageModel if config.model == "lstm" else LatentFlow
    return network(config, num_symbols, max_length, rngs=nnx.Rngs(params=key))
