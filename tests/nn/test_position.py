import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from nlf_jax.nn.position import PositionEmbedding, position_one_hot, step_mask

MAX_LENGTH = 7


@pytest.fixture
def embedding():
    return PositionEmbedding(MAX_LENGTH, 4, bound=1.0, rngs=nnx.Rngs(0))


def one_hot_product(embedding, first, num_steps, length):
    one_hot = position_one_hot(length, first + num_steps, MAX_LENGTH)[first:]
    return one_hot @ jnp.concatenate([embedding.start[...], embedding.end[...]])


@pytest.mark.parametrize(("first", "num_steps"), [(0, 1), (0, 7), (1, 6), (2, 3), (1, 7)])
@pytest.mark.parametrize("length", [3, 5, 7])
def test_look_up_is_the_product_with_one_hots(embedding, first, num_steps, length):
    real = step_mask(jnp.int32(length), first + num_steps)[first:]
    look_up = jnp.where(real[:, None], embedding(first, num_steps, jnp.int32(length)), 0.0)
    expected = jnp.where(real[:, None], one_hot_product(embedding, first, num_steps, length), 0.0)
    np.testing.assert_allclose(look_up, expected, atol=1e-6)
    assert np.isfinite(embedding(first, num_steps, jnp.int32(length))).all()


@pytest.mark.parametrize("first", [0, 1])
def test_gradient_is_the_one_of_the_product(embedding, first):
    lengths = jnp.array([4, 6])

    def total(function, embedding):
        values = jax.vmap(lambda n: function(embedding, first, 4 - first, n))(lengths)
        return (values * jnp.arange(values.size).reshape(values.shape)).sum()

    ours = jax.grad(lambda e: total(lambda e, *args: e(*args, longest=6), e))(embedding)
    expected = jax.grad(lambda e: total(one_hot_product, e))(embedding)
    np.testing.assert_allclose(ours.start[...], expected.start[...], atol=1e-5)
    np.testing.assert_allclose(ours.end[...], expected.end[...], atol=1e-5)
