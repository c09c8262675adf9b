"""What a run is made of: a network, and how it is trained and scored."""

from dataclasses import dataclass, fields

from nlf_jax.errors import UserError
from nlf_jax.models.config import ModelConfig
from nlf_jax.options import LENGTHS_BELOW, SIZES_BELOW, option


@dataclass(frozen=True)
class TrainConfig(ModelConfig):
    """Options of a run; the defaults are those of the published code for Penn Treebank.

    That code says ``initial_kl_zero`` 4 but counts epochs from -1: the KL weight is flat for 5.

    Examples:
        >>> import nlf_jax
        >>> config = nlf_jax.TrainConfig(model="lstm", hidden=64, embedding=64)
        >>> config.learning_rate, config.bucket_lengths(100)
        (0.001, (64, 96, 100))
    """

    max_length: int = option(288, "longer sequences are left out", below=LENGTHS_BELOW)
    length_smoothing: bool = option(False, "give lengths never seen a small probability")
    buckets: tuple[int, ...] = option(
        (64, 96, 128, 160, 192, 224), "padded lengths, besides max_length"
    )
    batch_size: int = option(15, "sequences in a training step", below=SIZES_BELOW)
    accumulate: int = option(
        1, "batches whose gradients are averaged for one update", below=SIZES_BELOW, since=2
    )
    transpose: int = option(
        0, "music: move each roll at random, at most so many semitones", low=0, below=88, since=2
    )
    num_epochs: int = option(100, "passes over the training data")
    elbo_samples: int = option(10, "latent samples in a training step", below=SIZES_BELOW)
    optimizer: str = option("adam", "how gradients are used", choices=("adam", "sgd"))
    learning_rate: float = option(1e-3, "the first, or the cosine's highest", low=1e-12)
    adam_b2: float = option(0.999, "decay of Adam's mean square", low=0, below=1, since=2)
    weight_decay: float = option(
        0.0, "of matrices, decoupled, times the learning rate", low=0, since=2
    )
    average: float = option(
        0.0, "decay of an average of weights that is scored; 0: none", low=0, below=1, since=2
    )
    grad_clip: float = option(0.25, "gradients are scaled down to this norm", low=1e-12)
    schedule: str = option("plateau", "of the learning rate", choices=("plateau", "cosine"))
    patience: int = option(1, "epochs without improvement before the plateau rule divides by 4")
    kl_zero_epochs: float = option(5.0, "epochs with next to no weight on the KL term", low=0)
    kl_ramp_epochs: float = option(10.0, "epochs in which that weight then rises to 1", low=0)
    seed: int = option(0, "decides the start, the order of the data and the noise", low=0)
    nll_samples: int = option(30, "importance samples of a score", below=SIZES_BELOW)
    eval_batch_size: int = option(15, "sequences in a scoring step", below=SIZES_BELOW)
    log_every: int = option(50, "steps between lines of progress")
    checkpoint_every: int = option(500, "steps between checkpoints")

    def __post_init__(self):
        """Refuse what cannot be trained."""
        super().__post_init__()
        if self.is_text and self.transpose:
            raise UserError("transpose is for piano rolls only.")
        if self.tied and self.has_output_weights and self.embedding != self.hidden:
            raise UserError(
                f"tied shares weights between embedding={self.embedding} and hidden={self.hidden}: "
                "make these equal or set it to false."
            )

    @property
    def network(self) -> ModelConfig:
        """The part that the network is made from."""
        return ModelConfig(**{each.name: getattr(self, each.name) for each in fields(ModelConfig)})

    def bucket_lengths(self, longest: int) -> tuple[int, ...]:
        """Padded lengths of batches: the buckets below the longest sequence, and its length."""
        return (*(b for b in self.buckets if b < longest), longest)
