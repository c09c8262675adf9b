"""What every network follows, and a network with what it takes to score and sample."""

from typing import Any, Protocol

from flax import struct
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nlf_jax.models.base import Terms
from nlf_jax.models.config import ModelConfig


class Network(Protocol):
    """p(x | T), an ``nnx.Module`` whose leaves are all parameters.

    Attributes:
        config: what it was made from.
        embedding: of the symbols, [V, E].
    """

    config: ModelConfig

    @property
    def embedding(self) -> Any: ...

    def terms(
        self,
        x: Array,
        lengths: Int[Array, "B"],
        keys: PRNGKeyArray,
        *,
        num_samples: int,
        train: bool = False,
    ) -> Terms:
        """The terms of the bound of sequences x [B, T, ..], for S samples of z.

        Args:
            keys: [B], one for each row.
            num_samples: S; a language model, whose score is exact, has 1 whatever is asked.
            train: dropout is on.
        """
        ...

    def terms_by_step(
        self, x: Array, lengths: Int[Array, "B"], keys: PRNGKeyArray, *, num_samples: int
    ) -> Terms:
        """The terms of every step, [T, B, S]; 0 at padded steps. See ``terms``."""
        ...

    def generate(
        self,
        lengths: Int[Array, "N"],
        num_steps: int,
        keys: PRNGKeyArray,
        temperature: Float[Array, ""],
        greedy: bool,
    ) -> Array:
        """Draw N sequences of the given lengths: [N, num_steps, ..], arbitrary past the end.

        Args:
            keys: [N], one for each sequence.
            temperature: divisor of the scores, and of the prior's if it has such; else factor on
                the noise's standard deviation.
            greedy: take the most probable symbol, given z or the past, instead of drawing one.
        """
        ...

    def continuation(
        self,
        opening: Array,
        lengths: Int[Array, "N"],
        num_steps: int,
        keys: PRNGKeyArray,
        temperature: Float[Array, ""],
        greedy: bool,
    ) -> tuple[Array, Float[Array, "N"]]:
        """Propose N sequences that begin with the k steps of an opening; see ``generate``.

        Returns:
            The sequences, [N, num_steps, ..], and the log of the weights, nats, by which they are
            draws from p(x | x_{1..k}, T).
        """
        ...


class SequenceModel(struct.PyTreeNode):
    """p(x) = p(T) p(x | T) as a pytree.

    Attributes:
        network: p(x | T).
        length_log_prob: log p(T), index T = 0..max_length.
        vocabulary: symbols and their ids; None for music and for plain ids. Static.

    Examples:
        >>> import jax, nlf_jax
        >>> model = nlf_jax.load("pretrained:king_james")
        >>> halved = jax.tree.map(lambda leaf: 0.5 * leaf, model.network)
        >>> type(model.replace(network=halved).network).__name__
        'CodebookFlow'
    """

    network: Network
    length_log_prob: Float[Array, "max_length_plus_1"]
    vocabulary: Any = struct.field(pytree_node=False, default=None)

    @property
    def max_length(self) -> int:
        """The most steps that a sequence can have."""
        return self.length_log_prob.shape[0] - 1
