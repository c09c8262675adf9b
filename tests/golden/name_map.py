"""Where each of our parameters is in the authors' modules (harvardnlp/TextFlow).

| ours                                   | theirs                                                  |
|----------------------------------------|---------------------------------------------------------|
| Linear weight [in, out], bias          | weight [out, in] transposed, bias                       |
| PositionEmbedding start, end           | the last 2 * max_T input columns of the layer that reads|
|                                        | the position: weight_ih_l0, initial_hidden_cond_ff      |
| LSTMCell input_weight, hidden_weight   | weight_ih (without those columns), weight_hh, transposed|
| LSTMCell input_bias, hidden_bias       | bias_ih, bias_hh                                        |
| BiLSTM backward                        | ..._reverse                                             |
| MLP, MaskedMLP layers[0], context      | network.0.weight: the columns of x, those of the context|
| MaskedMLP out_weight [H, D, P], bias   | last weight [P * D, H] (row p * D + d), bias [P * D]    |
| MLP last layer, Elementwise net        | row j * P + p, as ours                                  |
| Recurrent initial_state                | initial_hidden_cond_ff                                  |
| Recurrent inner                        | outp_net                                                |
| Chain(bijectors)                       | flow.0, flow.1, ..: in reversed order, except in IAF,   |
|                                        | where (their swap_trngen_dirs) 0 is next to the noise   |
| embedding [V, E]                       | input_embedding.weight                                  |
| posterior.encoder, .out                | inference_model.rnn_q, .q_base_ff                       |
| likelihood.decoder, .out               | generative_model.rnn_outp, outp_ff                      |
| OutputLayer first, weight [V, H], bias | network.0, network.1.weight, network.1.bias             |

The functions below walk one of our modules and yield `(parameter, their name, conversion)` with
`conversion(their array) = ours`. Being linear it holds for gradients as well.
"""

from nlf_jax.bijectors.base import Inverse
from nlf_jax.bijectors.coupling import Elementwise
from nlf_jax.bijectors.recurrent import PerStep, Recurrent
from nlf_jax.models import LanguageModel
from nlf_jax.nn.mlp import MaskedMLP


def same(array):
    return array


def transposed(array):
    return array.T


def columns(first, last=None):
    """Some input columns of a weight [out, in], as ours [in, out]."""
    return lambda weight: weight[:, first:last].T


def network(module):
    """A whole model."""
    yield module.embedding, "input_embedding.weight", same
    if isinstance(module, LanguageModel):
        yield from lstm(module.lstm.cells, module.lstm.position, "rnn.")
        yield from output_layer(module.out, "output_embedding.")
        return
    yield from bilstm(module.posterior.encoder, "inference_model.rnn_q.")
    yield from linear(module.posterior.out, "inference_model.q_base_ff.")
    yield from prior(module.prior, "generative_model.prior.")
    yield from bilstm(module.likelihood.decoder, "generative_model.rnn_outp.")
    yield from output_layer(module.likelihood.out, "outp_ff.")


def output_layer(module, prefix):
    yield from linear(module.first, prefix + "network.0.")
    if module.weight is not None:
        yield module.weight, prefix + "network.1.weight", same
    yield module.bias, prefix + "network.1.bias", same


def prior(module, prefix):
    """A flow across T: one or several layers."""
    if isinstance(module, PerStep):
        yield from hidden_flow(module.inner, prefix + "flow.flow.0.outp_net.", noise_first=False)
        return
    inverse = isinstance(module.bijectors[0], Inverse)
    for index, layer in enumerate(in_their_order(module, inverse)):
        yield from recurrent_layer(layer, f"{prefix}flow.flow.{index}.", inverse)


def in_their_order(chain, noise_first):
    return list(chain.bijectors) if noise_first else list(chain.bijectors)[::-1]


def unwrapped(module):
    return module.bijector if isinstance(module, Inverse) else module


def recurrent_layer(module, prefix, inverse):
    recurrent: Recurrent = unwrapped(module)
    initial, first = recurrent.initial_state, prefix + "initial_hidden_cond_ff.network."
    yield from position(initial.position, first + "0.weight")
    yield initial.bias, first + "0.bias", same
    yield from linear(initial.out, first + "2.")
    yield from lstm(recurrent.lstm.cells, recurrent.lstm.position, prefix + "lstm.")
    yield from hidden_flow(unwrapped(recurrent.inner), prefix + "outp_net.", inverse)


def hidden_flow(module, prefix, noise_first):
    """A flow across D: an elementwise map or a chain of layers."""
    if isinstance(module, Elementwise):
        yield from linear(module.net, prefix)
        return
    for index, layer in enumerate(in_their_order(module, noise_first)):
        yield from hidden_layer(layer, f"{prefix}flow.{index}.")


def hidden_layer(module, prefix):
    net = unwrapped(module).net
    if isinstance(net, MaskedMLP):
        yield from conditioner(net, prefix + "made.network.", step=1)
        last = f"{prefix}made.network.{len(net.layers)}."
        shape = (net.num_outputs, net.size)
        yield net.out_weight, last + "weight", lambda w: w.reshape(*shape, -1).transpose(2, 1, 0)
        yield net.out_bias, last + "bias", lambda b: b.reshape(shape).T
    else:
        yield from conditioner(net, prefix + "net.network.", step=2)


def conditioner(net, prefix, step):
    """Layers of a network that reads [x, context]."""
    size = net.layers[0].weight.shape[0]
    yield net.layers[0].weight, prefix + "0.weight", columns(0, size)
    yield net.context, prefix + "0.weight", columns(size)
    yield net.layers[0].bias, prefix + "0.bias", same
    for index, layer in list(enumerate(net.layers))[1:]:
        yield from linear(layer, f"{prefix}{index * step}.")


def bilstm(module, prefix):
    yield from lstm(module.forward, module.forward_position, prefix)
    yield from lstm(module.backward, module.backward_position, prefix, "_reverse")


def lstm(cells, positions, prefix, suffix=""):
    for k, cell in enumerate(cells):
        end = f"l{k}{suffix}"
        yield cell.input_weight, f"{prefix}weight_ih_{end}", columns(0, cell.input_weight.shape[0])
        yield cell.hidden_weight, f"{prefix}weight_hh_{end}", transposed
        yield cell.input_bias, f"{prefix}bias_ih_{end}", same
        yield cell.hidden_bias, f"{prefix}bias_hh_{end}", same
    if positions is not None:
        yield from position(positions, f"{prefix}weight_ih_l0{suffix}")


def position(module, name):
    max_length = module.start.shape[0]
    yield module.start, name, columns(-2 * max_length, -max_length)
    yield module.end, name, columns(-max_length)


def linear(module, prefix):
    yield module.weight, prefix + "weight", transposed
    yield module.bias, prefix + "bias", same
