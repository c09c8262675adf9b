"""A network together with what it takes to score and sample: length prior and vocabulary."""

from typing import Any

from flax import struct
from jaxtyping import Array, Float

from nlf_jax.models.codebook_flow import CodebookFlow
from nlf_jax.models.language_model import LanguageModel
from nlf_jax.models.latent_flow import LatentFlow

Network = LatentFlow | CodebookFlow | LanguageModel


class SequenceModel(struct.PyTreeNode):
    """p(x) = p(T) p(x | T) as a pytree.

    Attributes:
        network: p(x | T).
        length_log_prob: log p(T), index T = 0..max_length.
        vocabulary: symbols and their ids; None for music. Static.
    """

    network: Network
    length_log_prob: Float[Array, "max_length_plus_1"]
    vocabulary: Any = struct.field(pytree_node=False, default=None)
