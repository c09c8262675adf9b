"""The flows of the paper and its ablations, put together from bijectors."""

from flax import nnx

from nlf_jax.bijectors.base import Bijector, Chain, Inverse
from nlf_jax.bijectors.coupling import Elementwise, SplitCoupling
from nlf_jax.bijectors.logistic_mixture import logistic_mixture
from nlf_jax.bijectors.masked_autoregressive import MaskedAutoregressive
from nlf_jax.bijectors.recurrent import PerStep, Recurrent, TimeChain, inverse_autoregressive
from nlf_jax.bijectors.scalar import TRANSFORMS, ScalarTransform, inverted
from nlf_jax.models.config import ModelConfig


def scalar_transform(config: ModelConfig) -> ScalarTransform:
    """The transform of one dimension."""
    if config.transform == "mixture":
        return logistic_mixture(config.mixture_components)
    return TRANSFORMS[config.transform]


def hidden_flow(
    config: ModelConfig, context_size: int, *, noise_first: bool, first: int, rngs: nnx.Rngs
) -> Bijector:
    """Flow across the D dimensions, the order of the dimensions alternating from layer to layer.

    Args:
        noise_first: layer 0 is the one next to the noise, and a masked autoregressive layer is
            conditioned on the noise side (as IAF needs to sample in parallel); else layer 0 is next
            to the latent and is conditioned on the latent side.
        first: 0 if layer 0 has the ascending order, 1 if the descending one.
    """
    transform = scalar_transform(config)
    if config.model == "af_nohidden":
        return Elementwise(config.latent, context_size, transform, rngs=rngs)
    sizes = (config.latent, context_size, config.flow_hidden, config.flow_hidden_layers)
    autoregressive = config.model in ("af_af", "iaf_af", "af_only")
    layers = []
    for index in range(config.flow_layers):
        reverse = bool((index + first) % 2)
        if not autoregressive:
            layer = SplitCoupling(*sizes, transform, reverse=reverse, rngs=rngs)
        elif noise_first:
            flipped = MaskedAutoregressive(*sizes, inverted(transform), reverse=reverse, rngs=rngs)
            layer = Inverse(flipped)
        else:
            layer = MaskedAutoregressive(*sizes, transform, reverse=reverse, rngs=rngs)
        layers.append(layer)
    return Chain(layers if noise_first else layers[::-1])


def create_prior(config: ModelConfig, max_length: int, rngs: nnx.Rngs) -> Bijector:
    """The flow across T of a configuration: noise [T, D] to latent [T, D]."""
    if config.model == "af_only":
        inner = hidden_flow(config, 2 * max_length, noise_first=False, first=0, rngs=rngs)
        return PerStep(inner, max_length)
    inverse = config.model.startswith("iaf")
    make = inverse_autoregressive if inverse else Recurrent
    recurrence = {"recurrence": config.recurrence, "dropout": config.dropout}
    layers = []
    for index in range(config.temporal_layers):
        inner = hidden_flow(config, config.hidden, noise_first=inverse, first=index % 2, rngs=rngs)
        sizes = (config.latent, config.hidden, config.lstm_layers, max_length)
        layers.append(make(inner, *sizes, **recurrence, rngs=rngs))
    return TimeChain(layers if inverse else layers[::-1])
