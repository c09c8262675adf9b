import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from nlf_jax.nn.linear import Linear
from nlf_jax.nn.mlp import MLP, MaskedMLP
from tests.bijectors.table import drawn

SIZE, CONTEXT, HIDDEN = 4, 2, 32


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
def test_masked_network_sees_only_earlier_inputs_and_all_of_the_context(reverse, layers):
    sizes = (SIZE, CONTEXT, HIDDEN, layers, 2)
    net = drawn(lambda: MaskedMLP(*sizes, reverse=reverse, rngs=nnx.Rngs(0)), seed=0, scale=1.0)
    y, context = jnp.ones(SIZE) / 3, jnp.ones(CONTEXT)
    of_y, of_context = jax.jacobian(net, argnums=(0, 1))(y, context)
    earlier = np.tril(np.ones((SIZE, SIZE), bool), -1)
    earlier = earlier.T if reverse else earlier
    np.testing.assert_array_equal((np.asarray(of_y) != 0).any(1), earlier)
    assert (np.asarray(of_context) != 0).all()


@pytest.mark.parametrize("reverse", [False, True])
def test_direct_connections_add_a_linear_map_of_earlier_inputs(reverse):
    sizes, how = (SIZE, CONTEXT, HIDDEN, 1, 2), {"reverse": reverse, "direct": True}
    net = drawn(lambda: MaskedMLP(*sizes, **how, rngs=nnx.Rngs(0)), seed=0, scale=1.0)
    alone = lambda path, leaf: leaf if "direct" in jax.tree_util.keystr(path) else 0.0 * leaf  # noqa: E731
    net = jax.tree_util.tree_map_with_path(alone, net)
    y = jnp.arange(1.0, SIZE + 1)
    earlier = np.tri(SIZE, k=-1) if reverse else np.tri(SIZE, k=-1).T
    expected = np.einsum("i,io,iop->op", y, earlier, net.direct[...])
    np.testing.assert_allclose(net(y, jnp.ones(CONTEXT)), expected, atol=1e-5)


def test_context_enters_the_first_layer_as_more_inputs():
    net = MLP(3, CONTEXT, HIDDEN, 1, 2, rngs=nnx.Rngs(0))
    x, context = jnp.arange(3.0), jnp.ones(CONTEXT)
    weight = jnp.concatenate([net.layers[0].weight[...], net.context[...]])
    hidden = jax.nn.relu(jnp.concatenate([x, context]) @ weight + net.layers[0].bias[...])
    expected = hidden @ net.layers[1].weight[...] + net.layers[1].bias[...]
    np.testing.assert_allclose(net(x, context), expected, atol=1e-6)


def test_linear_starts_within_its_bounds():
    layer = Linear(30, 20, bound=0.1, bias=0.2, rngs=nnx.Rngs(0))
    for parameter, bound in ((layer.weight, 0.1), (layer.bias, 0.2)):
        assert 0.9 * bound < np.abs(parameter[...]).max() <= bound
    expected = np.ones(30) @ np.asarray(layer.weight[...]) + layer.bias[...]
    np.testing.assert_allclose(layer(jnp.ones((5, 30)))[3], expected, atol=1e-6)
