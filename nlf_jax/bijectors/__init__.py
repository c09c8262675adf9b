"""Invertible maps with log-determinants, noise to latent, to compose flows of."""

from nlf_jax.bijectors.base import Bijector, Chain, Inverse, Reverse, standard_normal_log_prob
from nlf_jax.bijectors.codebook import Codebook, FrameCodebook, FrameContext
from nlf_jax.bijectors.coupling import Elementwise, SplitCoupling
from nlf_jax.bijectors.logistic_mixture import logistic_mixture
from nlf_jax.bijectors.masked_autoregressive import MaskedAutoregressive
from nlf_jax.bijectors.normal_mixture import mixture_to_noise, noise_to_mixture
from nlf_jax.bijectors.recurrent import (
    PerStep,
    Recurrent,
    SequenceContext,
    TimeAutoregressive,
    TimeChain,
    inverse_autoregressive,
)
from nlf_jax.bijectors.root_finding import solve_bump, solve_increasing
from nlf_jax.bijectors.scalar import AFFINE, NLSQ, TRANSFORMS, ScalarTransform, inverted

__all__ = [
    "AFFINE",
    "NLSQ",
    "TRANSFORMS",
    "Bijector",
    "Chain",
    "Codebook",
    "Elementwise",
    "FrameCodebook",
    "FrameContext",
    "Inverse",
    "MaskedAutoregressive",
    "PerStep",
    "Recurrent",
    "Reverse",
    "ScalarTransform",
    "SequenceContext",
    "SplitCoupling",
    "TimeAutoregressive",
    "TimeChain",
    "inverse_autoregressive",
    "inverted",
    "logistic_mixture",
    "mixture_to_noise",
    "noise_to_mixture",
    "solve_bump",
    "solve_increasing",
    "standard_normal_log_prob",
]
