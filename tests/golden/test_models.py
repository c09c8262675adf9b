"""Whole models against the authors' numbers: every term, bound, gradient and training step."""

from dataclasses import replace
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from nlf_jax.bijectors.recurrent import SequenceContext
from nlf_jax.models import LatentFlow, ModelConfig, SequenceModel, create_network
from nlf_jax.models.priors import create_prior
from nlf_jax.objectives import importance_weighted_nll, training_loss
from nlf_jax.training.state import Updates, make_optimizer
from tests.golden import name_map
from tests.golden.golden import Golden, batch_first, check, load

pytestmark = pytest.mark.usefixtures("quick_compilation")
MODELS = [f"{m}_{e}" for m in ("af_af", "af_scf", "iaf_scf") for e in ("bern", "cat")]
MAX_ULPS = 16
MAX_GRADIENT_ULPS = 64


def make_model(golden):
    """Ours; the size of their prior's LSTM differs from the others', so it is put in by hand."""
    config = golden.config
    hidden_flow = "scf" if config["hiddenflow_scf_layers"] else "af"
    ours = ModelConfig(
        model=f"{config['prior_type'].lower()}_{hidden_flow}",
        emission="bernoulli" if config["indep_bernoulli"] else "categorical",
        embedding=config["inp_embedding_size"],
        hidden=config["hidden_size"],
        latent=config["zsize"],
        lstm_layers=config["q_rnn_layers"],
        flow_layers=config["hiddenflow_flow_layers"],
        flow_hidden=config["hiddenflow_units"],
        flow_hidden_layers=config["hiddenflow_layers"],
        transform=config["transform_function"],
        dropout=config["dropout_p"],
        tied=config["tie_weights"],
    )
    sizes = {"num_symbols": config["vocab_size"], "max_length": config["max_T"]}
    network = create_network(ours, **sizes, key=jax.random.key(0))
    prior_config = replace(ours, hidden=config["p_rnn_units"])
    network.prior = create_prior(prior_config, config["max_T"], nnx.Rngs(0))
    load(network, name_map.network(network), golden["param"])
    return SequenceModel(network, jnp.asarray(golden["in"]["log_p_T"]))


class Case:
    """A file, our model with its parameters, and the batch."""

    def __init__(self, path):
        self.golden = Golden(path)
        self.exact = self.golden["out64"]
        given = self.golden["in"]
        self.model = make_model(self.golden)
        self.batch = batch_first(given["x"]), given["lengths"]
        self.valid = batch_first(given["valid"])
        self.noise = {k: batch_first(given[f"eps_{k}"]) for k in ("q", "nll", "gen")}

    def check(self, ours, name, where=None, ulps=MAX_ULPS):
        check(ours, self.exact[name], ulps, where)

    def check_steps(self, ours, name):
        """Compares [B, S, T, ..] at the real steps."""
        exact = np.moveaxis(self.exact[name], 0, 2)
        where = np.broadcast_to(self.valid[:, None], exact.shape[:3])
        check(ours, exact, MAX_ULPS, where)


@pytest.fixture(scope="module", params=MODELS)
def case(request, golden_dir):
    return Case(golden_dir / f"model_{request.param}.npz")


def given_noise(noise):
    """Makes the model draw this noise, [B, S, T, D]."""
    steps_first = jnp.moveaxis(noise, 2, 0)
    return mock.patch.object(LatentFlow, "_draw_noise", return_value=steps_first)


def loss(network, model, batch, noise, weight):
    """What is trained, at given posterior noise [B, S, T, D]."""
    with given_noise(noise):
        model = model.replace(network=network)
        key, num_samples = jax.random.key(0), noise.shape[1]
        return training_loss(model, *batch, key, num_samples=num_samples, kl_weight=weight)


loss_and_gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))


@jax.jit
def all_terms(network, batch, noise):
    def one_sample(x, length, posterior, noise):
        z = posterior.sample(noise)
        features = network.likelihood.features(z, length)
        terms = network.step_terms(x, length, posterior, noise)
        return z, features, network.scores(z, length), terms

    posterior = jax.vmap(network.encode)(*batch)
    per_sample = jax.vmap(one_sample, (None, None, None, 0))
    return posterior, jax.vmap(per_sample)(*batch, posterior, noise)


def test_terms_of_every_step(case):
    posterior, steps = all_terms(case.model.network, case.batch, case.noise["q"])
    z, features, scores, terms = steps
    for name, value in [("q_mean", posterior.mean), ("q_logvar", posterior.log_variance)]:
        case.check_steps(np.stack([value] * z.shape[1], axis=1), name)
    case.check_steps(z, "z")
    case.check_steps(features, "likelihood_input")
    case.check_steps(scores, "scores")
    case.check_steps(terms.log_posterior, "log_q_z")
    case.check_steps(terms.log_prior, "log_p_z")
    case.check_steps(terms.log_posterior - terms.log_prior, "kl_loss")
    case.check_steps(-terms.reconstruction, "reconst_loss")


@pytest.mark.parametrize("weight", [0.3, 1])
def test_bound(case, weight):
    network, noise = case.model.network, case.noise["q"]
    (value, bound), _ = loss_and_gradient(network, case.model, case.batch, noise, float(weight))
    case.check(-bound.elbo, f"loss_B_w{weight}")
    case.check(bound.kl, f"kl_B_w{weight}")
    case.check(value, f"obj_w{weight}")
    without_length = bound.length_log_prob - bound.elbo
    case.check((without_length / case.batch[1]).mean(), f"obj_noT_w{weight}")


def test_gradient(case):
    network, noise = case.model.network, case.noise["q"]
    _, gradient = loss_and_gradient(network, case.model, case.batch, noise, 0.3)
    arrays, squares = case.golden["grad"], {}
    for ours, name, convert in name_map.network(gradient):
        squares[name] = squares.get(name, 0.0) + np.square(np.float64(ours[...])).sum()
        if name in arrays:
            check(ours[...], convert(arrays[name]), MAX_GRADIENT_ULPS)
    for name, norm in case.golden["gradnorm"].items():
        check(np.sqrt(squares[name]), norm, MAX_GRADIENT_ULPS)


def test_importance_weighted_nll(case):
    noise, lengths = case.noise["nll"], case.batch[1]

    @jax.jit
    def nll(model, batch, noise):
        with given_noise(noise):
            return importance_weighted_nll(
                model, *batch, jax.random.key(0), num_samples=noise.shape[1]
            )

    nats = nll(case.model, case.batch, noise)
    case.check(-nats, "is_ll_B")
    case.check(nats.sum() / (lengths + 1).sum(), "is_nll_per_token")


def test_generation(case):
    num_steps = case.valid.shape[1]

    @jax.jit
    def generate(lengths, noise):
        network, one = case.model.network, jnp.float32(1)
        keys = jax.random.split(jax.random.key(0), len(lengths))
        with mock.patch.object(LatentFlow, "_draw_noise", return_value=noise):
            symbols = network.generate(lengths, num_steps, keys, one, True)
        z, _ = network.prior.forward_and_log_det(noise, SequenceContext(lengths))
        return symbols, network.scores(z, lengths)

    symbols, scores = generate(case.batch[1], jnp.swapaxes(case.noise["gen"], 0, 1))
    check(scores, case.exact["gen_scores"], MAX_ULPS, case.valid.T)
    expected = batch_first(case.golden["out"]["gen_x"])
    np.testing.assert_array_equal(symbols[case.valid], expected[case.valid])


def test_training_steps(case):
    """Six steps of Adam with clipping, the same noise each time."""
    optimizer = make_optimizer(Updates("adam", 0.25))
    network, noise = case.model.network, case.noise["q"]
    state, values, norms = optimizer.init(network), [], []
    for _ in range(6):
        (value, _), gradient = loss_and_gradient(network, case.model, case.batch, noise, 0.5)
        updates, state = optimizer.update(gradient, state, network)
        network = jax.tree.map(lambda p, u: p - 1e-3 * u, network, updates)
        values.append(value)
        norms.append(optax.tree.norm(gradient))
    check(values, case.golden["out"]["traj_obj"], MAX_ULPS)
    check(norms, case.golden["out"]["traj_gradnorm"], MAX_GRADIENT_ULPS)
