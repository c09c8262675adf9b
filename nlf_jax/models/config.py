"""What a network is made of."""

from dataclasses import dataclass

from nlf_jax.errors import UserError

FLOW_MODELS = ("af_af", "af_scf", "iaf_scf", "iaf_af", "af_only", "af_nohidden")
MODELS = (*FLOW_MODELS, "lstm")
EMISSIONS = ("categorical", "bernoulli")
PRODUCTS = ("float32", "bfloat16")


@dataclass(frozen=True)
class ModelConfig:
    """Sizes and choices of a network; the defaults are the paper's for PTB.

    Attributes:
        model: flow across time _ flow across the hidden dimensions, or ``lstm``, the baseline.
            ``af_only`` has no flow across time, ``af_nohidden`` none across the hidden dimensions.
        emission: ``categorical`` (text) or ``bernoulli`` (piano rolls).
        mixtures: K, components of a frame's likelihood (piano rolls); 1 as in the paper.
        frame_units: hidden units of the network by which a key depends on the lower ones of its
            frame (piano rolls); 0, as in the paper, has independent keys.
        embedding: size of a symbol's embedding.
        hidden: size of every LSTM.
        latent: D, dimensions of a step's latent.
        lstm_layers: layers of every LSTM.
        flow_layers: layers of the flow across the hidden dimensions.
        flow_hidden: units of a conditioner's hidden layer.
        flow_hidden_layers: hidden layers of a conditioner.
        temporal_layers: flows across time, one on another.
        transform: ``nlsq`` or ``affine``.
        dropout: of the prior's LSTM; of the whole network for the baseline.
        vae_dropout: of what the posterior's and the likelihood's LSTMs give; 0 in the paper.
        tied: output weights are the embedding (needs ``hidden == embedding``).
        products: what the factors of matrix products are rounded to, except in the prior, where
            density and sampling have to agree: ``float32`` or ``bfloat16``.
    """

    model: str = "af_scf"
    emission: str = "categorical"
    embedding: int = 500
    hidden: int = 500
    latent: int = 50
    lstm_layers: int = 2
    flow_layers: int = 5
    flow_hidden: int = 100
    flow_hidden_layers: int = 2
    temporal_layers: int = 1
    transform: str = "nlsq"
    dropout: float = 0.2
    vae_dropout: float = 0.0
    tied: bool = True
    mixtures: int = 1
    frame_units: int = 0
    products: str = "float32"

    def __post_init__(self):
        """Refuse what cannot be built."""
        _choose("model", self.model, MODELS)
        _choose("emission", self.emission, EMISSIONS)
        _choose("transform", self.transform, ("nlsq", "affine"))
        _choose("products", self.products, PRODUCTS)
        for name in ("embedding", "hidden", "latent", "lstm_layers", "flow_layers"):
            _at_least(name, getattr(self, name), 1)
        for name in ("flow_hidden", "flow_hidden_layers", "temporal_layers", "mixtures"):
            _at_least(name, getattr(self, name), 1)
        _probability("dropout", self.dropout)
        _probability("vae_dropout", self.vae_dropout)
        _at_least("frame_units", self.frame_units, 0)
        for name, none in (("mixtures", 1), ("frame_units", 0)):
            if self.emission == "categorical" and getattr(self, name) > none:
                raise UserError(f"{name} is {getattr(self, name)}: that is for piano rolls only")
        if self.model.endswith("_scf") and self.latent < 2:
            raise UserError(f"{self.model} couples two halves of the latent: latent must be >= 2")


def _probability(name: str, value: float) -> None:
    if not 0.0 <= value < 1.0:
        raise UserError(f"{name} is {value}: choose a value from 0 up to, not with, 1")


def _choose(name: str, value: str, among: tuple[str, ...]) -> None:
    if value not in among:
        raise UserError(f"{name} {value!r} is unknown: choose one of {', '.join(among)}")


def _at_least(name: str, value: int, low: int) -> None:
    if value < low:
        raise UserError(f"{name} is {value}: it must be at least {low}")
