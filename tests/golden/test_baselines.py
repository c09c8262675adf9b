"""The LSTM baseline against the authors' numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nlf_jax.models import ModelConfig, SequenceModel, create_network
from nlf_jax.nn.position import step_mask
from nlf_jax.objectives import training_loss
from tests.golden import name_map
from tests.golden.golden import Golden, batch_first, check, load

BASELINES = ["bern", "cat", "cat_noT", "cat_untied"]
MAX_ULPS = 8
MAX_GRADIENT_ULPS = 16


def make_network(config):
    """Ours; without the position (max_length 0) for their noT variant."""
    ours = ModelConfig(
        model="lstm",
        emission="bernoulli" if config["indep_bernoulli"] else "categorical",
        embedding=config["n_inp_units"],
        hidden=config["n_hidden_units"],
        lstm_layers=config["n_layers"],
        dropout=0.0,
        tied=config["tie_weights"],
    )
    max_length = config["max_T"] if config["T_condition"] else 0
    sizes = {"num_symbols": config["vocab_size"], "max_length": max_length}
    return create_network(ours, **sizes, key=jax.random.key(0))


@pytest.fixture(scope="module", params=BASELINES)
def case(request, golden_dir):
    golden = Golden(golden_dir / f"baseline_{request.param}.npz")
    network = make_network(golden.config)
    return golden, load(network, name_map.network(network), golden["param"])


@jax.jit
def loss(network, batch, log_p_length):
    model = SequenceModel(network, log_p_length)
    return training_loss(model, *batch, jax.random.key(0), num_samples=1, kl_weight=1.0)


@jax.jit
def loss_without_length(network, batch, log_p_length):
    """The authors' objective without length conditioning: no length prior, a mean over T."""
    _, bound = loss(network, batch, log_p_length)
    without = -bound.reconstruction
    return (without / batch[1]).mean(), bound._replace(elbo=-without)


def test_loss_and_gradient(case):
    golden, network = case
    given, exact = golden["in"], golden["out64"]
    batch = batch_first(given["x"]), given["lengths"]
    objective = loss if golden.config["T_condition"] else loss_without_length
    run = jax.value_and_grad(objective, has_aux=True)
    (value, bound), gradient = run(network, batch, jnp.asarray(given["log_p_T"]))
    check(value, exact["obj"], MAX_ULPS)
    check(-bound.elbo, exact["loss_B"], MAX_ULPS)
    arrays = golden["grad"]
    for ours, name, convert in name_map.network(gradient):
        check(ours[...], convert(arrays[name]), MAX_GRADIENT_ULPS)


def test_log_prob_of_every_step(case):
    golden, network = case
    given = golden["in"]
    x, lengths = batch_first(given["x"]), given["lengths"]
    log_prob = jax.jit(jax.vmap(network.log_prob))(x, lengths)
    mask = np.stack([step_mask(n, x.shape[1]) for n in lengths])
    check(-log_prob, batch_first(golden["out64"]["loss"]), MAX_ULPS, mask)
