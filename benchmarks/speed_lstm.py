"""One LSTM layer, its input's projection included, beside other implementations of it."""

import dataclasses
import os
import types
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from benchmarks.timing import Call, Program, compile_program
from nlf_jax.nn.lstm import LSTMCell
from nlf_jax.nn.recurrence import zero_state

NO_TORCH = "torch is not installed: pip install .[torch]"
Apply = Callable[[Any, Array], Array]


@dataclasses.dataclass(frozen=True)
class LayerCase:
    """A layer of H units that reads B sequences of T steps of H inputs.

    Attributes:
        task: "forward", or "gradient": the outputs, then the gradients of weights and inputs.
    """

    task: str
    batch: int
    hidden: int
    steps: int = 128
    published: ClassVar[None] = None
    reads_weights: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """For instance "lstm-layer/forward/B15-H128-T128"."""
        return f"lstm-layer/{self.task}/B{self.batch}-H{self.hidden}-T{self.steps}"

    def program(self) -> Program:
        """Ours, and the same by others with the same weights."""
        cell = LSTMCell(self.hidden, self.hidden, rngs=nnx.Rngs(0))
        rivals = {
            "flax": compile_program(make_program(self, *flax_layer(cell))).call,
            "scan": compile_program(make_program(self, plain_scan, cell)).call,
            "torch": torch_call(self, cell),
        }
        return make_program(self, our_layer, cell)._replace(rivals=rivals)

    def arrays(self) -> tuple[Float[Array, "T B H"], Float[Array, "T B H"]]:
        """Inputs, and a gradient of the outputs."""
        shape = (self.steps, self.batch, self.hidden)
        inputs, cotangent = jax.random.normal(jax.random.key(1), (2, *shape))
        return inputs, cotangent


def layer_cases() -> list[LayerCase]:
    """Small, many rows, and the paper's size."""
    shapes = ((15, 128), (150, 128), (15, 500))
    return [LayerCase(task, *shape) for task in ("forward", "gradient") for shape in shapes]


def make_program(case: LayerCase, apply: Apply, weights: Any) -> Program:
    """A layer, or a layer and its gradients: (h, (gradients of the weights, of the inputs))."""
    inputs, cotangent = case.arrays()
    if case.task == "forward":
        return Program(jax.jit(apply), (weights, inputs))

    def gradient(weights, inputs, cotangent):
        outputs, transposed = jax.vjp(apply, weights, inputs)
        return outputs, transposed(cotangent)

    return Program(jax.jit(gradient), (weights, inputs, cotangent))


def our_layer(cell: LSTMCell, inputs: Float[Array, "T B H"]) -> Float[Array, "T B H"]:
    """A layer as the models have it."""
    gates, mask = cell.gates(inputs), jnp.ones((len(inputs), 1), bool)
    return cell(gates, cell.biases(gates), zero_state(cell.hidden_size), mask)


def plain_scan(cell: LSTMCell, inputs: Float[Array, "T B H"]) -> Float[Array, "T B H"]:
    """The equations in a ``lax.scan``, the inputs projected before it."""
    hidden_weight = cell.hidden_weight[...]

    def step(state, gates_x):
        i, f, g, o = jnp.split(gates_x + state[0] @ hidden_weight, 4, axis=-1)
        new = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
        hidden = jax.nn.sigmoid(o) * jnp.tanh(new)
        return (hidden, new), hidden

    start = jnp.zeros((2, inputs.shape[1], cell.hidden_size))
    return jax.lax.scan(step, tuple(start), inputs @ cell.input_weight[...] + cell.bias)[1]


def flax_layer(cell: LSTMCell) -> tuple[Apply, nnx.State]:
    """``nnx.RNN`` over the faster of Flax's cells, and its weights."""
    size = cell.hidden_size
    inner = nnx.OptimizedLSTMCell(size, size, rngs=nnx.Rngs(0))
    inner.dense_i.kernel = nnx.Param(cell.input_weight[...])
    inner.dense_h.kernel = nnx.Param(cell.hidden_weight[...])
    inner.dense_h.bias = nnx.Param(cell.bias)
    graph, weights = nnx.split(nnx.RNN(inner, time_major=True, rngs=False))

    def apply(weights, inputs):
        zeros = jnp.zeros((inputs.shape[1], size))
        return nnx.merge(graph, weights)(inputs, initial_carry=(zeros, zeros))

    return apply, weights


def torch_call(case: LayerCase, cell: LSTMCell) -> Call | str:
    """``torch.nn.LSTM`` on all cores: what ``make_program`` gives, or that PyTorch is missing."""
    torch = _import_torch()
    if torch is None:
        return NO_TORCH
    torch.set_num_threads(os.cpu_count() or 1)
    layer = _torch_layer(torch, cell)
    inputs, cotangent = (torch.from_numpy(np.array(array)) for array in case.arrays())
    if case.task == "forward":
        return torch.no_grad()(lambda: layer(inputs)[0])
    weights = [*layer.parameters(), inputs.requires_grad_()]

    def gradient():
        outputs = layer(inputs)[0]
        return outputs, torch.autograd.grad(outputs, weights, cotangent)

    return gradient


def _torch_layer(torch: Any, cell: LSTMCell) -> Any:
    layer = torch.nn.LSTM(cell.input_weight.shape[0], cell.hidden_size)
    weights = [cell.input_weight[...].T, cell.hidden_weight[...].T]
    weights += [cell.input_bias[...], cell.hidden_bias[...]]
    with torch.no_grad():
        for parameter, weight in zip(layer.parameters(), weights, strict=True):
            parameter.copy_(torch.from_numpy(np.array(weight)))
    return layer


def _import_torch() -> types.ModuleType | None:
    try:
        import torch
    except ImportError:
        return None
    return torch
