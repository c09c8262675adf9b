"""What a network is made of."""

from dataclasses import dataclass

from nlf_jax import options
from nlf_jax.bijectors.codebook import READINGS
from nlf_jax.errors import UserError
from nlf_jax.options import option

FLOW_MODELS = ("af_af", "af_scf", "iaf_scf", "iaf_af", "af_only", "af_nohidden")
LATENT_MODELS = (*FLOW_MODELS, "af_codebook")
LANGUAGE_MODELS = ("lstm", "gated")
MODELS = (*LATENT_MODELS, *LANGUAGE_MODELS)
EMISSIONS = ("categorical", "bernoulli")
PRODUCTS = ("float32", "bfloat16")
RECURRENCES = ("lstm", "gated")
TRANSFORMS = ("nlsq", "affine", "mixture")
POSTERIORS = ("bilstm", "factorised")


@dataclass(frozen=True)
class ModelConfig:
    """Options of a network; the defaults are the paper's for Penn Treebank.

    A model is named by its flow across time and that across the hidden dimensions. ``af_only`` has
    no flow across time, ``af_nohidden`` none across the hidden dimensions, ``af_codebook`` that of
    a code for every symbol; ``lstm`` and ``gated`` are language models, the baselines.
    """

    model: str = option("af_scf", "time flow _ hidden flow, or a language model", choices=MODELS)
    recurrence: str = option("lstm", "of every network over time", choices=RECURRENCES, since=2)
    posterior: str = option(
        "bilstm", "q and p(x|z) read all steps, or each its own", choices=POSTERIORS, since=2
    )
    emission: str = option("categorical", "symbols or keys", choices=EMISSIONS)
    mixtures: int = option(1, "music: components of a frame's likelihood", since=2)
    frame_units: int = option(
        0, "music: units of a network of a key's lower keys; 0: independent keys", low=0, since=2
    )
    embedding: int = option(500, "size of a symbol's embedding")
    hidden: int = option(500, "size of every recurrence")
    latent: int = option(50, "D, latent dimensions of a time step")
    lstm_layers: int = option(2, "layers of every LSTM, blocks of every gated recurrence")
    flow_layers: int = option(5, "hidden-flow layers in a time step")
    flow_hidden: int = option(100, "units in a hidden-flow network's layer")
    flow_hidden_layers: int = option(2, "layers of a hidden-flow network")
    temporal_layers: int = option(1, "flows across time, one on the other")
    transform: str = option("nlsq", "of a number, in the flows", choices=TRANSFORMS)
    mixture_components: int = option(8, "of the transform mixture", since=2)
    code_width: float = option(
        0.3, "af_codebook: standard deviation around a code", low=1e-3, since=2
    )
    code_reading: str = option(
        "denoised", "af_codebook: what is read of z", choices=READINGS, since=2
    )
    dropout: float = option(
        0.2, "of the prior's or the language model's recurrence", low=0, below=1
    )
    vae_dropout: float = option(
        0.0, "of the posterior's and likelihood's networks", low=0, below=1, since=2
    )
    tied: bool = option(True, "output weights are the embedding")
    products: str = option(
        "float32", "factors of products, but the prior's", choices=PRODUCTS, since=2
    )

    def __post_init__(self):
        """Refuse what cannot be built."""
        if self.model == "gated":
            object.__setattr__(self, "recurrence", "gated")
        options.check(self)
        if self.model in LANGUAGE_MODELS and self.model != self.recurrence:
            raise UserError(f"recurrence {self.recurrence} is not that of the model {self.model}.")
        if self.model == "af_codebook" and not self.is_text and not self.frame_units:
            raise UserError("frame_units must be at least 1 for af_codebook of piano rolls.")
        if self.model.endswith("_scf") and self.latent < 2:
            raise UserError(f"latent must be at least 2: {self.model} couples two halves of it.")
        if self.is_text and (self.mixtures > 1 or self.frame_units):
            raise UserError("mixtures and frame_units are for piano rolls only.")

    @property
    def is_text(self) -> bool:
        """Whether sequences are of symbols; else of frames of keys."""
        return self.emission == "categorical"
