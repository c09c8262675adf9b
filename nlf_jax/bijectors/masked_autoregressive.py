"""Across D: masked autoregressive transformation (MADE)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from nlf_jax.bijectors.base import Bijector
from nlf_jax.bijectors.scalar import ScalarTransform
from nlf_jax.nn.axes import aligned, varying_like
from nlf_jax.nn.linear import FULL_PRECISION, project
from nlf_jax.nn.mlp import MaskedMLP


class MaskedAutoregressive(Bijector):
    """Dimension d is transformed given the dimensions before it and the context.

    ``y_d = f(x_d; theta_d)``, ``theta_d = net(y_{<d}, context)``, f the transform;
    ``log_det = sum_d log f'(x_d; theta_d)`` (Papamakarios et al., 2017). The first dimension is the
    first one or, if ``reverse``, the last one.

    The inverse, latent to noise, is one pass of the masked network.
    The forward, noise to latent, goes through the dimensions in order and evaluates each hidden
    unit once, when the inputs that it depends on are known, so that it too costs one pass in all.
    """

    def __init__(
        self,
        size: int,
        context_size: int,
        hidden: int,
        hidden_layers: int,
        transform: ScalarTransform,
        *,
        reverse: bool,
        direct: bool = False,
        rngs: nnx.Rngs,
    ):
        self.transform = transform
        self.net = MaskedMLP(
            size,
            context_size,
            hidden,
            hidden_layers,
            transform.num_params,
            reverse=reverse,
            direct=direct,
            rngs=rngs,
        )

    def inverse_and_log_det(self, y, context):
        """See ``Bijector``."""
        x, log_det = self.transform.inverse_and_log_det(self.net(y, context), y)
        return x, log_det.sum(-1)

    def forward_and_log_det(self, x, context):
        """See ``Bijector``."""

        def transform(carry, raw, x_m):
            y_m, log_det = self.transform.forward_and_log_det(raw, x_m)
            return carry, y_m, y_m, log_det

        _, y, log_det = in_order(self.net, context, transform, None, x)
        return y, log_det.sum(-1)


def in_order(
    net: MaskedMLP,
    context: Float[Array, "*B C"],
    transform: Callable,
    carry: Any,
    x: Float[Array, "*B D"],
) -> tuple[Any, Float[Array, "*B D"], Float[Array, "*B D"]]:
    """Goes through the dimensions in the network's order, evaluating each hidden unit once.

    Args:
        transform: (carry, raw [*B, P], x_d [*B]) -> (carry, y_d, what the network reads of y_d,
            log_det, or what else is kept of d), given the network's outputs for d.
        x: what each dimension is transformed from.

    Returns:
        The last carry, the y and the log_dets.
    """
    weights = _by_degree(net)
    shift = _blocks(project(context, net.context[...]), net.size)
    x = jnp.flip(x, -1) if net.reverse else x

    def step(carry, inputs):
        outer, read, hidden = carry
        is_m, x_m, shift_m, (layers, (out_weight, out_bias, direct)) = inputs
        below, new_hidden = read, []
        for (weight, bias), h in zip(layers, hidden, strict=True):
            units = _contract(below, weight)
            units = jax.nn.relu(units + aligned(bias, units) + shift_m)
            below = jnp.where(aligned(is_m[:, None], h), units[..., None, :], h)
            new_hidden.append(below)
            shift_m = 0.0
        raw = _contract(below, out_weight)
        raw += aligned(out_bias, raw)
        raw = raw if direct is None else raw + _contract(read, direct)
        outer, y_m, read_m, log_det = transform(outer, raw, x_m)
        read = jnp.where(aligned(is_m, read), read_m[..., None], read)
        return (outer, read, new_hidden), (y_m, log_det)

    shape = jnp.broadcast_shapes(shift.shape, (*x.shape[:-1], 1, 1))
    hidden = [jnp.zeros(shape, shift.dtype) for _ in net.layers]
    # An update by index would be a scatter under vmap, which copies what it updates.
    inputs = (jnp.eye(net.size, dtype=bool), jnp.moveaxis(x, -1, 0))
    inputs = (*inputs, jnp.moveaxis(shift, -2, 0), weights)
    start = varying_like((carry, jnp.zeros_like(x), hidden), x, context, net)
    (carry, _, _), outputs = jax.lax.scan(step, start, inputs)
    y, log_det = (jnp.moveaxis(out, 0, -1) for out in outputs)
    return carry, jnp.flip(y, -1) if net.reverse else y, log_det


def _contract(x: Array, weight: Array) -> Array:
    """Sums over the last axes of x and all but the last one of the weight."""
    return jnp.tensordot(x, weight, weight.ndim - 1, precision=FULL_PRECISION)


def _blocks(x: Array, size: int) -> Array:
    """Last axis of hidden units [.., H] by degree, zero-filled: [.., D, ceil(H / D)]."""
    per_degree = -(-x.shape[-1] // size)
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, per_degree * size - x.shape[-1])])
    return jnp.swapaxes(x.reshape(*x.shape[:-1], per_degree, size), -1, -2)


def _by_degree(net: MaskedMLP):
    """Weights of the network in D slices: slice m computes the units of degree m.

    No masks are needed: units not yet computed are zero when a slice reads them.
    """
    layers = []
    for index, layer in enumerate(net.layers):
        weight = _blocks(layer.weight[...], net.size)
        if index > 0:
            weight = jnp.moveaxis(_blocks(jnp.moveaxis(weight, 0, -1), net.size), (-2, -1), (0, 1))
        elif net.reverse:
            weight = jnp.flip(weight, 0)
        layers.append((jnp.moveaxis(weight, -2, 0), _blocks(layer.bias[...], net.size)))
    out = jnp.moveaxis(_blocks(jnp.moveaxis(net.out_weight[...], 0, -1), net.size), 1, -1)
    bias, direct = net.out_bias[...], None if net.direct is None else net.direct[...]
    if net.reverse:
        out, bias = jnp.flip(out, 0), jnp.flip(bias, 0)
        direct = None if direct is None else jnp.flip(direct, (0, 1))
    direct = None if direct is None else jnp.swapaxes(direct, 0, 1)
    return layers, (out, bias, direct)
