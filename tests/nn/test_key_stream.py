import jax
from flax import nnx

from nlf_jax.nn.key_stream import KeyStream


def test_keys_are_those_of_nnx():
    ours, theirs = KeyStream(jax.random.key(3)), nnx.Rngs(params=jax.random.key(3))
    drawn = [
        [jax.random.key_data(each.params()).tolist() for _ in range(3)] for each in (ours, theirs)
    ]
    assert drawn[0] == drawn[1]
    assert len({tuple(key) for key in drawn[0]}) == 3
