"""No random key is used twice: JAX's own checker, on the networks' computations."""

from functools import partial

import jax
import pytest

from tests.models.tiny import make_batch, make_model

pytestmark = pytest.mark.usefixtures("quick_compilation")
SETTINGS = [
    ("af_scf", "categorical", {"temporal_layers": 2, "vae_dropout": 0.3}),
    ("af_codebook", "bernoulli", {"recurrence": "gated"}),
    ("lstm", "bernoulli", {"mixtures": 2, "frame_units": 2}),
]


@pytest.mark.parametrize(("name", "emission", "changes"), SETTINGS)
def test_no_key_is_used_twice(name, emission, changes):
    network = make_model(name, emission, dropout=0.3, **changes).network
    x, lengths = make_batch(emission)

    def keys():
        return jax.random.split(jax.random.key(0), 3)

    with jax.debug_key_reuse(True):
        terms = jax.jit(partial(network.terms, num_samples=2, train=True))
        jax.block_until_ready(terms(x, lengths, keys()))
        draw = jax.jit(partial(network.generate, num_steps=2, temperature=1.0, greedy=False))
        used = keys()
        jax.block_until_ready(draw(lengths, keys=used))
        with pytest.raises(jax.errors.KeyReuseError):
            draw(lengths, keys=used)
