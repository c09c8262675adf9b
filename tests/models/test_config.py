import jax
import pytest

from nlf_jax.errors import UserError
from nlf_jax.models import ModelConfig, create_network

SMALL = {"hidden": 4, "embedding": 4, "latent": 2, "flow_hidden": 4}


@pytest.mark.parametrize(
    "values",
    [
        {"flow_layers": 10**6},
        {"flow_layers": 199, "flow_hidden_layers": 199},
        {"temporal_layers": 100, "lstm_layers": 6},
        {"hidden": 10**9},
        {"mixture_components": 10**9},
    ],
)
def test_what_cannot_be_built_is_refused_at_once(values):
    with pytest.raises(UserError, match=r"make .* layers: at most 500|must be at least 1 and less"):
        ModelConfig(**SMALL | values)


def test_a_number_that_no_float_holds_is_refused():
    with pytest.raises(UserError, match=r"^dropout is too large: 1000\.*"):
        ModelConfig(**SMALL, dropout=10**400)


def test_a_network_that_no_memory_holds_is_refused_before_it_is_made():
    config = ModelConfig(model="lstm", hidden=99_999, embedding=99_999)
    with pytest.raises(
        UserError, match=r"would have 1\d\d,\d{3},\d{3},\d{3} parameters, more than"
    ):
        create_network(config, num_symbols=9, max_length=9, key=jax.random.key(0))
