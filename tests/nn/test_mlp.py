import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from nlf_jax.nn.linear import Linear
from nlf_jax.nn.mlp import MLP, MaskedMLP
from tests.bijectors.table import redrawn

SIZE, CONTEXT, HIDDEN = 4, 2, 32


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
def test_masked_network_sees_only_earlier_inputs_and_all_of_the_context(reverse, layers):
    net = MaskedMLP(SIZE, CONTEXT, HIDDEN, layers, 2, reverse=reverse, rngs=nnx.Rngs(0))
    net = redrawn(net, jax.random.key(0), 1.0)
    y, context = jnp.ones(SIZE) / 3, jnp.ones(CONTEXT)
    of_y, of_context = jax.jacobian(net, argnums=(0, 1))(y, context)
    earlier = np.tril(np.ones((SIZE, SIZE), bool), -1)
    earlier = earlier.T if reverse else earlier
    np.testing.assert_array_equal((np.asarray(of_y) != 0).any(1), earlier)
    assert (np.asarray(of_context) != 0).all()


def test_context_enters_the_first_layer_as_more_inputs():
    net = MLP(3, CONTEXT, HIDDEN, 1, 2, rngs=nnx.Rngs(0))
    x, context = jnp.arange(3.0), jnp.ones(CONTEXT)
    weight = jnp.concatenate([net.layers[0].weight[...], net.context[...]])
    hidden = jax.nn.relu(jnp.concatenate([x, context]) @ weight + net.layers[0].bias[...])
    expected = hidden @ net.layers[1].weight[...] + net.layers[1].bias[...]
    np.testing.assert_allclose(net(x, context), expected, atol=1e-6)


@pytest.mark.parametrize(("bias", "leaves"), [(0.0, 2), (None, 1)])
def test_linear_without_bias_has_one_parameter(bias, leaves):
    layer = Linear(3, 2, bias=bias, rngs=nnx.Rngs(0))
    assert len(jax.tree.leaves(layer)) == leaves
    assert layer(jnp.ones((5, 3))).shape == (5, 2)
    assert np.abs(layer.weight[...]).max() <= 0.07
