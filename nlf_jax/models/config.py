"""What a network is made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nlf_jax import options
from nlf_jax.bijectors.codebook import READINGS
from nlf_jax.errors import UserError
from nlf_jax.options import LAYERS_BELOW, SIZES_BELOW, option

FLOW_MODELS = ("af_af", "af_scf", "iaf_scf", "iaf_af", "af_only", "af_nohidden")
LATENT_MODELS = (*FLOW_MODELS, "af_codebook")
LANGUAGE_MODELS = ("lstm", "gated")
MODELS = (*LATENT_MODELS, *LANGUAGE_MODELS)
EMISSIONS = ("categorical", "bernoulli")
PRODUCTS = ("float32", "bfloat16")
RECURRENCES = ("lstm", "gated")
TRANSFORMS = ("nlsq", "affine", "mixture")
POSTERIORS = ("bilstm", "factorised")
MAX_LAYERS = 500
_OF_FLOWS = {"posterior", "vae_dropout", "temporal_layers", "transform", "mixture_components"}
_OF_CODES = {"code_width", "code_reading"}


@dataclass(frozen=True)
class ModelConfig:
    """Options of a network; the defaults are the paper's for Penn Treebank.

    A model is named by its flow across time and that across the hidden dimensions. ``af_only`` has
    no flow across time, ``af_nohidden`` none across the hidden dimensions, ``af_codebook`` that of
    a code for every symbol; ``lstm`` and ``gated`` are language models, the baselines.

    Examples:
        >>> import nlf_jax
        >>> config = nlf_jax.ModelConfig(model="gated", hidden=64, embedding=64)
        >>> config.recurrence, config.is_text
        ('gated', True)
    """

    model: str = option("af_scf", "time flow _ hidden flow, or a language model", choices=MODELS)
    recurrence: str = option("lstm", "of every network over time", choices=RECURRENCES, since=2)
    posterior: str = option(
        "bilstm", "q and p(x|z) read all steps, or each its own", choices=POSTERIORS, since=2
    )
    emission: str = option("categorical", "symbols or keys", choices=EMISSIONS)
    mixtures: int = option(
        1, "music: components of a frame's likelihood", below=SIZES_BELOW, since=2
    )
    frame_units: int = option(
        0,
        "music: units of a network of a key's lower keys; 0: independent keys",
        low=0,
        below=SIZES_BELOW,
        since=2,
    )
    embedding: int = option(500, "size of a symbol's embedding", below=SIZES_BELOW)
    hidden: int = option(500, "size of every recurrence", below=SIZES_BELOW)
    latent: int = option(50, "D, latent dimensions of a time step", below=SIZES_BELOW)
    lstm_layers: int = option(
        2, "layers of every LSTM, blocks of every gated recurrence", below=LAYERS_BELOW
    )
    flow_layers: int = option(5, "hidden-flow layers in a time step", below=LAYERS_BELOW)
    flow_hidden: int = option(100, "units in a hidden-flow network's layer", below=SIZES_BELOW)
    flow_hidden_layers: int = option(2, "layers of a hidden-flow network", below=LAYERS_BELOW)
    temporal_layers: int = option(1, "flows across time, one on the other", below=LAYERS_BELOW)
    transform: str = option("nlsq", "of a number, in the flows", choices=TRANSFORMS)
    mixture_components: int = option(8, "of the transform mixture", below=SIZES_BELOW, since=2)
    code_width: float = option(
        0.3, "af_codebook: standard deviation around a code", low=1e-3, below=1e3, since=2
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
        "float32", "factors of products, but a prior's", choices=PRODUCTS, since=2
    )

    def __post_init__(self):
        """Refuse what cannot be built."""
        if self.model == "gated":
            object.__setattr__(self, "recurrence", "gated")
        options.check(self)
        self._check_depth()
        if self.model in LANGUAGE_MODELS and self.model != self.recurrence:
            raise UserError(f"recurrence {self.recurrence} is not that of the model {self.model}.")
        if self.model == "af_codebook" and not self.is_text and not self.frame_units:
            raise UserError("frame_units must be at least 1 for af_codebook of piano rolls.")
        if self.model.endswith("_scf") and self.latent < 2:
            raise UserError(f"latent must be at least 2: {self.model} couples two halves of it.")
        if self.is_text and (self.mixtures > 1 or self.frame_units):
            raise UserError("mixtures and frame_units are for piano rolls only.")

    def _check_depth(self) -> None:
        of_flow = self.flow_layers * (1 + self.flow_hidden_layers)
        layers = self.temporal_layers * (self.lstm_layers + of_flow)
        if layers > MAX_LAYERS:
            raise UserError(
                f"flow_layers, flow_hidden_layers, lstm_layers and temporal_layers make {layers:,} "
                f"layers: at most {MAX_LAYERS:,} can be built."
            )

    @property
    def has_output_weights(self) -> bool:
        """Whether scores are made by output weights, which ``tied`` may make the embedding's."""
        return has_output_weights(vars(self))

    @property
    def is_text(self) -> bool:
        """Whether sequences are of symbols; else of frames of keys."""
        return self.emission == "categorical"


def unread_options(values: Mapping[str, Any]) -> set[str]:
    """What a network of these values has not, and no size: sizes may be given for all models."""
    model = values.get("model")
    if model in LANGUAGE_MODELS:
        return _OF_FLOWS | _OF_CODES
    if model == "af_codebook":
        return _OF_FLOWS | {"products"}
    unread = _OF_CODES | (set() if values.get("transform") == "mixture" else {"mixture_components"})
    unread |= {"temporal_layers"} if model == "af_only" else set()
    return unread if has_output_weights(values) else unread | {"tied"}


def has_output_weights(values: Mapping[str, Any]) -> bool:
    """The same of a config's values: the factorised likelihood of text has none, see there."""
    is_text = values.get("emission") == "categorical"
    by_bayes = is_text and values.get("posterior") == "factorised"
    return not (by_bayes and values.get("model") in FLOW_MODELS)
