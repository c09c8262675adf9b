"""Across D: the flow of a code for every symbol, whose density is a mixture of Gaussians.

Symbol k has a code ``mu_k``, and z given the symbol is ``N(mu_k, sigma^2 I)``. A mixture of such,
with weights from the context, is a triangular flow: dimension d is the distribution function of a
mixture in one dimension, whose weights are those of the symbols given the dimensions before it.
All symbols have one width and the prior is in closed form, which makes it simpler than Categorical
Normalizing Flows (Lippe & Gavves, 2021).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from nlf_jax.bijectors.base import Bijector
from nlf_jax.bijectors.masked_autoregressive import MaskedAutoregressive, in_order
from nlf_jax.bijectors.normal_mixture import mixture_to_noise, noise_to_mixture
from nlf_jax.nn.axes import aligned, varying_like
from nlf_jax.nn.linear import project

READINGS = ("denoised", "raw", "mix")


class Codebook(Bijector):
    """Latent z in R^D of symbols k = 1..V; the context is the logits of the weights, [V].

    ``log p(z) = log sum_k pi_k N(z; mu_k, sigma^2 I)``, ``pi = softmax(context)``. As a flow,

        w^1 = pi,   eps_d = Phi^-1(sum_k w^d_k Phi((z_d - mu_kd) / sigma)),
        w^{d+1}_k proportional to w^d_k N(z_d; mu_kd, sigma^2),

    and log_det to noise is ``sum_d (log sum_k w^d_k N(z_d; mu_kd, sigma^2) - log N(eps_d; 0, 1))``:
    with the noise's log density it telescopes to ``log p(z)``.

    Args:
        num_symbols: V.
        size: D.
        width: sigma, where the mean square of all codes is 1.
    """

    def __init__(self, num_symbols: int, size: int, width: float, *, rngs: nnx.Rngs):
        self.width = width
        self.raw_codes = nnx.Param(
            jax.random.normal(rngs.params(), (num_symbols, size), jnp.float32)
        )

    @property
    def codes(self) -> Float[Array, "V D"]:
        """mu, scaled to a mean square of 1."""
        raw = self.raw_codes[...]
        return raw * jax.lax.rsqrt(jnp.square(raw).mean())

    def log_likelihood(self, z: Float[Array, "*B D"]) -> Float[Array, "*B V"]:
        """``log N(z; mu_k, sigma^2 I)`` of every symbol, up to a term that all have in common."""
        codes = self.codes
        products = project(z, codes.T)
        squares = aligned(0.5 * jnp.square(codes).sum(-1), products)
        return (products - squares) / self.width**2

    def inverse_and_log_det(self, y, context):
        """See ``Bijector``."""
        y = y[..., None]
        u = (y - aligned(self.codes.T, y)) / self.width
        # Without dimension d itself: its weights are given by those before it alone.
        before = jnp.cumsum(-0.5 * u * u, axis=-2) + 0.5 * u * u
        log_weights = jax.nn.log_softmax(before + jax.nn.log_softmax(context)[..., None, :])
        noise, log_det = mixture_to_noise(log_weights, u)
        return noise, (log_det - jnp.log(self.width)).sum(-1)

    def forward_and_log_det(self, x, context):
        """See ``Bijector``."""

        def step(log_weights, inputs):
            x_d, codes = inputs
            # y_d is in units of sigma: ``noise_to_mixture`` has components of width 1.
            y_d, log_det = noise_to_mixture(log_weights, codes / self.width, x_d)
            y = y_d[..., None]
            u = y - aligned(codes / self.width, y)
            log_weights = jax.nn.log_softmax(log_weights - 0.5 * u * u)
            return log_weights, (self.width * y_d, log_det + jnp.log(self.width))

        start = jax.nn.log_softmax(context)
        start = jnp.broadcast_to(start, (*x.shape[:-1], start.shape[-1]))
        start = varying_like(start, x, self)
        y, log_det = jax.lax.scan(step, start, (jnp.moveaxis(x, -1, 0), self.codes.T))[1]
        return jnp.moveaxis(y, 0, -1), log_det.sum(0)


class FrameContext(NamedTuple):
    """What ``FrameCodebook`` is given."""

    components: Float[Array, "*B K V1"]
    """Logits of each component's keys and, last, of the component."""
    features: Float[Array, "*B F"]
    """What the network of a key's lower keys is given."""
    scale: Float[Array, "*B 1"] | None = None
    """Factor on what that network adds to the logits; None is 1."""

    def scaled(self, raw: Float[Array, "*B V"]) -> Float[Array, "*B V"]:
        """What the network adds."""
        return raw if self.scale is None else raw * self.scale


class FrameCodebook(Bijector):
    """Latent z in R^V of frames, one dimension a key, whose code is 1 where it sounds, else -1.

    ``log p(z) = log sum_c pi_c prod_v p_cv(z_v)`` with
    ``p_cv(z_v) = s_cv N(z_v; 1, sigma^2) + (1 - s_cv) N(z_v; -1, sigma^2)``, ``s_cv`` the sigmoid
    of a logit of component c and key v given what is read of ``z_{<v}``. As a flow it is
    triangular, as ``Codebook``, with two codes in each dimension:

        w^v_c proportional to pi_c prod_{u<v} p_cu(z_u),   a_v = sum_c w^v_c s_cv,
        eps_v = Phi^-1(a_v Phi((z_v - 1) / sigma) + (1 - a_v) Phi((z_v + 1) / sigma)),

    and log_det to noise is ``sum_v (log sum_c w^v_c p_cv(z_v) - log N(eps_v; 0, 1))``.

    Args:
        keys: the network of a key's lower keys.
        width: sigma.
        read: z -> what that network reads of it.
    """

    def __init__(self, keys: MaskedAutoregressive, width: float, read: Any):
        self.keys, self.width, self.read = keys, width, read

    def inverse_and_log_det(self, y, context):
        """See ``Bijector``."""
        raw = context.scaled(self.keys.net(self.read(y), context.features)[..., 0])
        logits = context.components[..., :-1] + raw[..., None, :]
        fits = component_fits(logits, y[..., None, :], self.width)
        before = jnp.cumsum(fits, axis=-1) - fits
        shares = jax.nn.log_softmax(context.components[..., -1])[..., None] + before
        u = distances(y, self.width)
        noise, log_det = mixture_to_noise(_key_weights(shares, logits), u)
        return noise, (log_det - jnp.log(self.width)).sum(-1)

    def forward_and_log_det(self, x, context):
        """See ``Bijector``."""
        components = jnp.moveaxis(context.components[..., :-1], -1, 0)
        carry = (0, jax.nn.log_softmax(context.components[..., -1]))

        def transform(carry, raw, x_v):
            number, shares = carry
            of_key = jax.lax.dynamic_index_in_dim(components, number, keepdims=False)
            logits = of_key + context.scaled(raw)
            weights = _key_weights(shares[..., None], logits[..., None])[..., 0, :]
            y_v, log_det = noise_to_mixture(
                weights, jnp.array([1.0, -1.0], jnp.float32) / self.width, x_v
            )
            y_v = self.width * y_v
            shares = shares + component_fits(logits, y_v[..., None], self.width)
            return (number + 1, shares), y_v, self.read(y_v), log_det + jnp.log(self.width)

        _, y, log_det = in_order(self.keys.net, context.features, transform, carry, x)
        return y, log_det.sum(-1)


def distances(z: Array, width: float) -> Float[Array, "... 2"]:
    """From the codes 1 and -1, in widths."""
    return jnp.stack([z - 1.0, z + 1.0], axis=-1) / width


def component_fits(
    logits: Float[Array, "*B K V"], z: Float[Array, "*B 1 V"], width: float
) -> Float[Array, "*B K V"]:
    """``log(s N(z; 1, width^2) + (1 - s) N(z; -1, width^2))``, up to a common term."""
    on, off = jnp.moveaxis(-0.5 * jnp.square(distances(z, width)), -1, 0)
    return jnp.logaddexp(jax.nn.log_sigmoid(logits) + on, jax.nn.log_sigmoid(-logits) + off)


def _key_weights(shares: Array, logits: Array) -> Float[Array, "*B V 2"]:
    """Log-probabilities of a key, on and off, over the components of log-weights ``shares``."""
    on = jax.nn.logsumexp(shares + jax.nn.log_sigmoid(logits), axis=-2)
    off = jax.nn.logsumexp(shares + jax.nn.log_sigmoid(-logits), axis=-2)
    return jax.nn.log_softmax(jnp.stack([on, off], axis=-1))
