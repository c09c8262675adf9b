"""Networks that flows and models are made of: LSTM, gated recurrence, MLP, MADE, positions."""

from nlf_jax.nn.gated import BiGated, GatedBlock, GatedStack, RMSNorm, linear_recurrence
from nlf_jax.nn.linear import Linear, look_up, project, uniform
from nlf_jax.nn.lstm import LSTM, BiLSTM, LSTMCell, dropout_factors
from nlf_jax.nn.mlp import MLP, MaskedMLP
from nlf_jax.nn.position import PositionEmbedding, position_one_hot, step_mask, steps_left
from nlf_jax.nn.recurrence import LSTMState, zero_state
from nlf_jax.nn.summary import InitialState, LSTMSummariser, Summariser, summariser_of

__all__ = [
    "LSTM",
    "MLP",
    "BiGated",
    "BiLSTM",
    "GatedBlock",
    "GatedStack",
    "InitialState",
    "LSTMCell",
    "LSTMState",
    "LSTMSummariser",
    "Linear",
    "MaskedMLP",
    "PositionEmbedding",
    "RMSNorm",
    "Summariser",
    "dropout_factors",
    "linear_recurrence",
    "look_up",
    "position_one_hot",
    "project",
    "step_mask",
    "steps_left",
    "summariser_of",
    "uniform",
    "zero_state",
]
