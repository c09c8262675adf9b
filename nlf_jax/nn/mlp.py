"""Conditioner networks: a plain MLP and a masked one (MADE), both with a context vector."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from nlf_jax.nn.axes import aligned
from nlf_jax.nn.linear import Linear, project, uniform


class MLP(nnx.Module):
    """ReLU network of (x, context); the context enters the first layer linearly."""

    def __init__(
        self,
        in_size: int,
        context_size: int,
        hidden: int,
        hidden_layers: int,
        out_size: int,
        *,
        rngs: nnx.Rngs,
    ):
        self.context = uniform(rngs, (context_size, hidden), 0.07)
        sizes = [in_size] + [hidden] * hidden_layers + [out_size]
        self.layers = nnx.List([Linear(i, o, rngs=rngs) for i, o in pairwise(sizes)])

    def __call__(
        self, x: Float[Array, "... I"], context: Float[Array, "... C"]
    ) -> Float[Array, "... O"]:
        h = self.layers[0](x) + project(context, self.context[...])
        for layer in list(self.layers)[1:]:
            h = layer(jax.nn.relu(h))
        return h


def made_degrees(size: int, units: int) -> np.ndarray:
    """Degree of each hidden unit: 0, 1, .., size-1, repeated (the authors' choice)."""
    return np.arange(units) % size


class MaskedMLP(nnx.Module):
    """MADE (Germain et al., 2015): output d depends on inputs < d in order, and on the context.

    A unit of degree m sees inputs of order <= m; inputs have order 1..D and output d has degree
    ``order(d) - 1``. The context has degree 0 and reaches every unit.

    Args:
        reverse: False gives order 1..D to inputs 0..D-1, True gives D..1.
        num_outputs: values per input dimension.
        direct: whether inputs also go straight to the outputs. These then start at zero, and the
            hidden layers at U(+-0.07), not the authors' U(+-0.001).
    """

    def __init__(
        self,
        size: int,
        context_size: int,
        hidden: int,
        hidden_layers: int,
        num_outputs: int,
        *,
        reverse: bool,
        direct: bool = False,
        rngs: nnx.Rngs,
    ):
        self.size, self.hidden, self.num_outputs, self.reverse = size, hidden, num_outputs, reverse
        bound, out_bound = (0.07, 0.0) if direct else (1e-3, hidden**-0.5)
        self.context = uniform(rngs, (context_size, hidden), bound)
        sizes = [size] + [hidden] * hidden_layers
        self.layers = nnx.List([Linear(i, o, bound=bound, rngs=rngs) for i, o in pairwise(sizes)])
        self.out_weight = uniform(rngs, (hidden, size, num_outputs), out_bound)
        self.out_bias = uniform(rngs, (size, num_outputs), out_bound)
        no_weights = jnp.zeros((size, size, num_outputs), jnp.float32)
        self.direct = nnx.Param(no_weights) if direct else None

    @property
    def order(self) -> np.ndarray:
        """Order 1..D of every input dimension."""
        ascending = np.arange(1, self.size + 1)
        return ascending[::-1] if self.reverse else ascending

    def __call__(
        self, y: Float[Array, "... D"], context: Float[Array, "... C"]
    ) -> Float[Array, "... D P"]:
        degrees, below = made_degrees(self.size, self.hidden), self.order
        h, shift = y, project(context, self.context[...])
        for layer in self.layers:
            h = _masked(h, layer.weight[...], below, degrees)
            h = jax.nn.relu(h + aligned(layer.bias[...], h) + shift)
            below, shift = degrees, 0.0
        outputs = _masked(h, self.out_weight[...], degrees, self.order - 1)
        outputs += aligned(self.out_bias[...], outputs)
        if self.direct is not None:
            outputs += _masked(y, self.direct[...], self.order, self.order - 1)
        return outputs


def _masked(h: Array, weight: Array, degrees_in: np.ndarray, degrees_out: np.ndarray) -> Array:
    """``h W`` with W zero where the degree falls; W is [I, O] or [I, O, P]."""
    mask = (degrees_out[None, :] >= degrees_in[:, None]).astype(np.float32)
    mask = mask.reshape(mask.shape + (1,) * (weight.ndim - 2))
    products = project(h, (weight * mask).reshape(weight.shape[0], -1))
    return products.reshape(*h.shape[:-1], *weight.shape[1:])
