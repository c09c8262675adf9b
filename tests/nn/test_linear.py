import jax
import jax.numpy as jnp
import numpy as np

from nlf_jax.nn.linear import project


def rounded(x):
    return np.asarray(x).astype(jnp.bfloat16).astype(np.float64)


def test_bfloat16_factors_are_rounded_and_their_products_added_up_in_float32():
    x, weight = jax.random.normal(jax.random.key(0), (2, 3, 100)), jnp.full((100, 2), 1 / 3)
    product = project(x, weight, "bfloat16")
    np.testing.assert_allclose(product, rounded(x) @ rounded(weight), atol=1e-5)
    assert np.abs(product - project(x, weight)).max() > 1e-3
    ones = jnp.ones((1, 1001))
    assert project(ones, ones.T, "bfloat16") == 1001


def test_gradients_of_bfloat16_products_are_such_products():
    x, weight = jax.random.normal(jax.random.key(0), (4, 3)), jnp.arange(6.0).reshape(3, 2) / 7
    pull_back = jax.vjp(lambda *args: project(*args, "bfloat16"), x, weight)[1]
    upstream = rounded(jax.random.normal(jax.random.key(1), (4, 2)))
    of_x, of_weight = pull_back(jnp.float32(upstream))
    np.testing.assert_allclose(of_x, rounded(upstream @ rounded(weight).T), atol=1e-6)
    np.testing.assert_allclose(of_weight, rounded(rounded(x).T @ upstream), atol=1e-6)
