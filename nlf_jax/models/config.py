"""What a network is made of."""

from dataclasses import dataclass
from typing import Any

from nlf_jax.bijectors.codebook import READINGS
from nlf_jax.errors import UserError

FLOW_MODELS = ("af_af", "af_scf", "iaf_scf", "iaf_af", "af_only", "af_nohidden")
LATENT_MODELS = (*FLOW_MODELS, "af_codebook")
LANGUAGE_MODELS = ("lstm", "gated")
MODELS = (*LATENT_MODELS, *LANGUAGE_MODELS)
EMISSIONS = ("categorical", "bernoulli")
PRODUCTS = ("float32", "bfloat16")
RECURRENCES = ("lstm", "gated")
TRANSFORMS = ("nlsq", "affine", "mixture")
POSTERIORS = ("bilstm", "factorised")

# Fields that older runs don't have, with the value that does what those did.
ADDED_SINCE: dict[str, Any] = {
    "mixtures": 1, "frame_units": 0, "products": "float32", "vae_dropout": 0.0,
    "mixture_components": 8, "recurrence": "lstm", "posterior": "bilstm", "code_width": 0.3,
    "code_reading": "denoised",
}  # fmt: skip


@dataclass(frozen=True)
class ModelConfig:
    """Sizes and choices of a network; the defaults are the paper's for PTB.

    Attributes:
        model: flow across time _ flow across the hidden dimensions, or a language model, the
            baseline: ``lstm`` or ``gated``. ``af_only`` has no flow across time, ``af_nohidden``
            none across the hidden dimensions, ``af_codebook`` that of a code for every symbol.
        emission: ``categorical`` (text) or ``bernoulli`` (piano rolls).
        mixtures: K, components of a frame's likelihood (piano rolls); 1 as in the paper.
        frame_units: hidden units of the network by which a key depends on the lower ones of its
            frame (piano rolls); 0, as in the paper, has independent keys.
        embedding: size of a symbol's embedding.
        recurrence: of every network over time: ``lstm`` or ``gated``; that of the model ``gated``.
        hidden: size of every LSTM or gated recurrence.
        latent: D, dimensions of a step's latent.
        lstm_layers: layers of every LSTM, blocks of every gated recurrence.
        flow_layers: layers of the flow across the hidden dimensions.
        flow_hidden: units of a conditioner's hidden layer.
        flow_hidden_layers: hidden layers of a conditioner.
        temporal_layers: flows across time, one on another.
        transform: ``nlsq``, ``affine``, or ``mixture`` of logistics with ``mixture_components``.
        posterior: ``bilstm`` (by ``recurrence``, a gated one) reads all symbols for q(z_t | x) and
            all of z for p(x_t | z); ``factorised`` has q(z_t | x_t) and p(x_t | z_t).
        code_width: sigma of the codes of ``af_codebook``.
        code_reading: what its network reads of z: ``denoised``, ``raw`` or a learned ``mix``.
        dropout: of the prior's recurrence; of the whole network for the baselines.
        vae_dropout: of the states that posterior and likelihood are made from; 0 in the paper.
        tied: output weights are the embedding (needs ``hidden == embedding``).
        products: what the factors of matrix products are rounded to, except in the prior, where
            density and sampling have to agree: ``float32`` or ``bfloat16``.
    """

    model: str = "af_scf"
    emission: str = "categorical"
    recurrence: str = "lstm"
    posterior: str = "bilstm"
    embedding: int = 500
    hidden: int = 500
    latent: int = 50
    lstm_layers: int = 2
    flow_layers: int = 5
    flow_hidden: int = 100
    flow_hidden_layers: int = 2
    temporal_layers: int = 1
    transform: str = "nlsq"
    mixture_components: int = 8
    dropout: float = 0.2
    vae_dropout: float = 0.0
    tied: bool = True
    mixtures: int = 1
    frame_units: int = 0
    products: str = "float32"
    code_width: float = 0.3
    code_reading: str = "denoised"

    def __post_init__(self):
        """Refuse what cannot be built."""
        if self.model == "gated":
            object.__setattr__(self, "recurrence", "gated")
        self._check_choices()
        self._check_numbers()
        if self.model in LANGUAGE_MODELS and self.model != self.recurrence:
            raise UserError(f"the model {self.model} has no recurrence {self.recurrence!r}")
        if self.model == "af_codebook" and self.emission == "bernoulli" and not self.frame_units:
            raise UserError("af_codebook of piano rolls needs frame_units of at least 1")
        if self.model.endswith("_scf") and self.latent < 2:
            raise UserError(f"{self.model} couples two halves of the latent: latent must be >= 2")

    def _check_choices(self):
        _choose("model", self.model, MODELS)
        _choose("emission", self.emission, EMISSIONS)
        _choose("transform", self.transform, TRANSFORMS)
        _choose("products", self.products, PRODUCTS)
        _choose("recurrence", self.recurrence, RECURRENCES)
        _choose("posterior", self.posterior, POSTERIORS)
        _choose("code_reading", self.code_reading, READINGS)

    def _check_numbers(self):
        if not 0.0 < self.code_width < float("inf"):
            raise UserError(f"code_width is {self.code_width}: it must be above 0")
        for name in ("embedding", "hidden", "latent", "lstm_layers", "flow_layers"):
            _at_least(name, getattr(self, name), 1)
        for name in ("flow_hidden", "flow_hidden_layers", "temporal_layers", "mixtures"):
            _at_least(name, getattr(self, name), 1)
        _probability("dropout", self.dropout)
        _probability("vae_dropout", self.vae_dropout)
        _at_least("frame_units", self.frame_units, 0)
        _at_least("mixture_components", self.mixture_components, 1)
        for name, none in (("mixtures", 1), ("frame_units", 0)):
            if self.emission == "categorical" and getattr(self, name) > none:
                raise UserError(f"{name} is {getattr(self, name)}: that is for piano rolls only")


def _probability(name: str, value: float) -> None:
    if not 0.0 <= value < 1.0:
        raise UserError(f"{name} is {value}: choose a value from 0 up to, not with, 1")


def _choose(name: str, value: str, among: tuple[str, ...]) -> None:
    if value not in among:
        raise UserError(f"{name} {value!r} is unknown: choose one of {', '.join(among)}")


def _at_least(name: str, value: int, low: int) -> None:
    if value < low:
        raise UserError(f"{name} is {value}: it must be at least {low}")
