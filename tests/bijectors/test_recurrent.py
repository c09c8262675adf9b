"""Flows across time, one on the other, with dropout."""

import jax
import numpy as np
import pytest

from nlf_jax.bijectors.recurrent import SequenceContext, TimeChain
from tests.bijectors.table import STEPS, drawn, model_prior


@pytest.fixture(scope="module")
def two_layers():
    changes = {"temporal_layers": 2, "dropout": 0.5, "recurrence": "gated", "flow_layers": 1}
    return drawn(lambda: model_prior("af_scf", "affine", **changes), seed=0, scale=0.5)


def test_each_layer_has_dropout_keys_of_its_own(two_layers):
    keys = jax.random.split(jax.random.key(0), 3)
    context = SequenceContext(np.full(3, STEPS), keys)
    contexts = two_layers.contexts(context)
    used = [jax.random.key_data(each.dropout_keys).tolist() for each in contexts]
    every = [tuple(key) for layer in used for key in layer]
    assert len(set(every) | {tuple(k) for k in jax.random.key_data(keys).tolist()}) == 3 * 3
    assert all((each.length == STEPS).all() for each in contexts)
    # One alone takes them as they are, and without dropout there is nothing to split.
    assert TimeChain([two_layers.bijectors[0]]).contexts(context) == [context]
    assert two_layers.contexts(context._replace(dropout_keys=None))[1].dropout_keys is None


def test_both_directions_have_the_same_masks(two_layers):
    noise = np.random.default_rng(0).standard_normal((STEPS, 1, 3)).astype(np.float32)
    context = SequenceContext(np.array([STEPS]), jax.random.split(jax.random.key(0), 1))

    @jax.jit
    def there_and_back(noise, context):
        z, log_det = two_layers.forward_and_log_det(noise, context)
        return (log_det, *two_layers.inverse_and_log_det(z, context))

    log_det, returned, inverse_log_det = there_and_back(noise, context)
    np.testing.assert_allclose(returned, noise, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(inverse_log_det, -log_det, rtol=1e-4, atol=1e-5)
