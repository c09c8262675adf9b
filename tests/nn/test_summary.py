"""An LSTM as what sums up the steps before each step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from nlf_jax.nn.lstm import LSTM
from nlf_jax.nn.summary import InitialState, LSTMSummariser, summariser_of
from tests.bijectors.table import drawn

STEPS, SIZE, HIDDEN = 5, 2, 3
pytestmark = pytest.mark.usefixtures("quick_compilation")


class Holder(nnx.Module):
    def __init__(self, with_state):
        rngs = nnx.Rngs(0)
        self.lstm = LSTM(SIZE, HIDDEN, 2, STEPS, rngs=rngs)
        if with_state:
            self.initial_state = InitialState(HIDDEN, 2, STEPS, rngs=rngs)


def make(with_state) -> LSTMSummariser:
    summariser = summariser_of(drawn(lambda: Holder(with_state), seed=0, scale=0.7))
    assert isinstance(summariser, LSTMSummariser)
    return summariser


def draw_inputs(summariser, *shape):
    return summariser.inputs(jax.random.normal(jax.random.key(0), (STEPS - 1, *shape, SIZE)))


@pytest.mark.parametrize("rate", [0.0, 0.5])
@pytest.mark.parametrize("with_state", [False, True])
def test_steps_give_the_summaries_of_the_whole_sequence(with_state, rate):
    """With keys for the first of two batch axes; the lengths have size 1 in the second."""
    summariser, length = make(with_state), jnp.array([[STEPS], [3]])
    keys = jax.random.split(jax.random.key(1), 2)

    @jax.jit
    def all_ways():
        inputs = draw_inputs(summariser, 2, 3)
        whole = summariser.summaries(inputs, length, keys, rate)
        carry, per_step = summariser.start(length, (STEPS, 2, 3), keys, rate)
        step = lambda carry, args: (summariser.advance(carry, *args), carry.summary)  # noqa: E731
        following = jnp.concatenate([inputs, jnp.zeros_like(inputs[:1])])
        in_order = jax.lax.scan(step, carry, (following, per_step))[1]
        return whole, in_order, summariser.summaries(inputs, length)

    whole, in_order, without = all_ways()
    assert whole.shape == (STEPS, 2, 3, HIDDEN)
    np.testing.assert_allclose(in_order, whole, atol=1e-6)
    assert (np.abs(without - whole)[1:].max() > 0.1) == (rate > 0)
    assert (np.abs(whole[0]).max() > 0.01) == with_state
    # Dropout is on the first summary too.
    assert (np.abs(without[0] - whole[0]).max() > 0.01) == (with_state and rate > 0)


@pytest.mark.parametrize("with_state", [False, True])
def test_a_summary_has_read_the_earlier_inputs_only(with_state):
    summariser = make(with_state)
    read = jax.jit(jax.jacfwd(lambda x: summariser.summaries(x, jnp.int32(STEPS))))
    size = np.abs(read(draw_inputs(summariser))).sum((1, 3))
    np.testing.assert_array_equal(size != 0, np.tri(STEPS, STEPS - 1, k=-1, dtype=bool))
