"""How many floating-point operations and bytes of weights a benchmark's cell needs, from shapes.

Counted are matrix products only, a multiplication and an addition being two operations; positions
are look-ups, and a masked matrix counts in full. A training step is three times its forward pass.
"""

from typing import NamedTuple

from nlf_jax.bijectors.scalar import TRANSFORMS
from nlf_jax.models import ModelConfig

BYTES = 4


class Weights(NamedTuple):
    """Weights that one time step multiplies by; for the LSTM baseline its own are the prior's.

    Attributes:
        encoder: of the posterior, the embedding of bits included.
        prior_input: of the prior's LSTM, but for its recurrence.
        prior_recurrent: of its recurrence.
        flow: of the flow across the hidden dimensions.
        decoder_input: of the likelihood, its output layer included.
        decoder_recurrent: of its recurrence.
        initial: of the prior's initial state; once a sequence.
    """

    encoder: int
    prior_input: int
    prior_recurrent: int
    flow: int
    decoder_input: int
    decoder_recurrent: int
    initial: int


def count_weights(config: ModelConfig, num_symbols: int) -> Weights:
    """The weights of a model's parts."""
    bits = num_symbols * config.embedding if config.emission == "bernoulli" else 0
    hidden, latent, layers = config.hidden, config.latent, config.lstm_layers
    recurrent = layers * 4 * hidden * hidden
    if config.model == "lstm":
        inputs = bits + _input_weights(config.embedding, hidden, layers)
        return Weights(0, inputs, recurrent, 0, _output(config, hidden, num_symbols), 0, 0)
    both_ways = lambda size: 2 * _input_weights(size, hidden, layers, ways=2)  # noqa: E731
    encoder = bits + both_ways(config.embedding) + 2 * recurrent + 2 * hidden * 2 * latent
    return Weights(
        encoder=encoder,
        prior_input=_input_weights(latent, hidden, layers),
        prior_recurrent=recurrent,
        flow=config.flow_layers * _conditioner(config),
        decoder_input=both_ways(latent) + _output(config, latent + 2 * hidden, num_symbols),
        decoder_recurrent=2 * recurrent,
        initial=hidden * 2 * layers * hidden,
    )


def _input_weights(size: int, hidden: int, layers: int, ways: int = 1) -> int:
    return 4 * hidden * (size + (layers - 1) * ways * hidden)


def _output(config: ModelConfig, size: int, num_symbols: int) -> int:
    width = config.embedding if config.tied else config.hidden
    return (size + num_symbols) * width


def _conditioner(config: ModelConfig) -> int:
    """One layer of the flow across the hidden dimensions, given the LSTM's summary."""
    coupling = config.model.endswith("_scf")
    given = config.latent // 2 if coupling else config.latent
    changed = config.latent - given if coupling else config.latent
    units, outputs = config.flow_hidden, changed * TRANSFORMS[config.transform].num_params
    return units * (given + config.hidden + (config.flow_hidden_layers - 1) * units + outputs)


def density_flops(
    config: ModelConfig, num_symbols: int, *, batch: int, steps: int, samples: int
) -> int:
    """Operations of the bound for B sequences of T steps and S samples of the latent each."""
    w, rows = count_weights(config, num_symbols), batch * samples
    if config.model == "lstm":
        rows = batch
    latent = steps * (w.flow + w.decoder_input + w.decoder_recurrent) + w.initial
    lstm_steps = steps if config.model.startswith("iaf") else steps - 1
    latent += lstm_steps * (w.prior_input + w.prior_recurrent)
    return 2 * (batch * steps * w.encoder + rows * latent)


def generate_flops(config: ModelConfig, num_symbols: int, *, batch: int, steps: int) -> int:
    """Operations for drawing B sequences of T steps."""
    w = count_weights(config, num_symbols)
    lstm_steps = steps - 1 if config.model.startswith("iaf") else steps
    each = steps * (w.flow + w.decoder_input + w.decoder_recurrent) + w.initial
    return 2 * batch * (each + lstm_steps * (w.prior_input + w.prior_recurrent))


def generate_bytes(config: ModelConfig, num_symbols: int, *, steps: int) -> int:
    """Bytes of weights read for one batch of T steps.

    A recurrence reads its weights at every step, everything that is parallel over time once. The
    baseline multiplies its embeddings by the first layer's weights once and then looks gates up.
    """
    w = count_weights(config, num_symbols)
    at_every_step = w.prior_recurrent + w.decoder_recurrent
    once = w.initial
    if config.model == "lstm":
        looked_up = 4 * config.hidden * config.embedding
        at_every_step += w.prior_input - looked_up + w.decoder_input
        once += looked_up
    elif config.model.startswith("iaf"):
        once += w.prior_input + w.flow + w.decoder_input
    else:
        at_every_step += w.prior_input + w.flow
        once += w.decoder_input
    return BYTES * (steps * at_every_step + once)
