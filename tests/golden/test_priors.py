"""Flow priors across time against the authors' numbers."""

import jax
import pytest
from flax import nnx

from nlf_jax.bijectors.base import Chain, standard_normal_log_prob
from nlf_jax.bijectors.recurrent import SequenceContext, inverse_autoregressive
from nlf_jax.models import ModelConfig
from nlf_jax.models.priors import create_prior, hidden_flow
from tests.golden import name_map
from tests.golden.golden import Golden, batch_first, check, load

MAX_ULPS = 8
PRIORS = [
    *("af_af3", "af_af3_affine", "af_af5", "af_nohiddenflow", "af_nohiddenflow_affine"),
    *("af_scf3", "af_scf3_2flows", "af_scf5", "hiddenflow_only_af3"),
    *("iaf_af3", "iaf_af3_2flows", "iaf_nohiddenflow", "iaf_scf3", "iaf_scf3_affine", "iaf_scf5"),
]


def model_name(config) -> str:
    if config["prior_type"] == "hiddenflow_only":
        return "af_only"
    hidden = "scf" if config["hiddenflow_scf_layers"] else "af"
    hidden = "nohidden" if config["nohiddenflow"] else hidden
    return f"{config['prior_type'].lower()}_{hidden}"


def make_prior(config):
    """Our prior; theirs without a hidden flow under IAF is no model of ours, but its parts are."""
    name = model_name(config)
    ours = ModelConfig(
        model="af_nohidden" if name == "iaf_nohidden" else name,
        hidden=config["hidden_size"],
        latent=config["zsize"],
        lstm_layers=config["rnn_layers"],
        flow_layers=config["hiddenflow_flow_layers"],
        flow_hidden=config["hiddenflow_units"],
        flow_hidden_layers=config["hiddenflow_layers"],
        temporal_layers=config["num_flow_layers"],
        transform=config["transform_function"],
    )
    rngs = nnx.Rngs(0)
    if name != "iaf_nohidden":
        return create_prior(ours, config["max_T"], rngs)
    inner = hidden_flow(ours, ours.hidden, noise_first=True, first=0, rngs=rngs)
    sizes = (ours.latent, ours.hidden, ours.lstm_layers, config["max_T"])
    return Chain([inverse_autoregressive(inner, *sizes, rngs=rngs)])


def load_prior(golden):
    prior = make_prior(golden.config)
    return load(prior, name_map.prior(prior, ""), golden["param"])


def density(prior, z, length):
    noise, log_det = prior.inverse_and_log_det(z, SequenceContext(length))
    return noise, log_det, standard_normal_log_prob(noise) + log_det


def generate(prior, noise, length):
    z, log_det = prior.forward_and_log_det(noise, SequenceContext(length))
    log_prob = standard_normal_log_prob(noise) - log_det
    return z, log_det, log_prob, density(prior, z, length)[2]


@pytest.mark.parametrize("name", PRIORS)
def test_density(golden_dir, name):
    golden = Golden(golden_dir / f"prior_{name}.npz")
    given, exact = golden["in"], golden["out64"]
    per_sample = jax.vmap(density, (None, 0, None))
    run = jax.jit(jax.vmap(per_sample, (None, 0, 0)))
    ours = run(load_prior(golden), batch_first(given["z"]), given["lengths"])
    valid = batch_first(given["valid"])
    noise, log_det, log_prob = (x.swapaxes(1, 2) for x in ours)
    check(noise, exact["eps"].swapaxes(0, 1), MAX_ULPS, valid)
    check(-log_det, exact["logdet"].swapaxes(0, 1), MAX_ULPS, valid)
    check(log_prob, exact["log_p_z"].swapaxes(0, 1), MAX_ULPS, valid)


@pytest.mark.parametrize("name", [n for n in PRIORS if n != "hiddenflow_only_af3"])
def test_generation(golden_dir, name):
    golden = Golden(golden_dir / f"prior_{name}.npz")
    given, exact = golden["in"], golden["out64"]
    run = jax.jit(jax.vmap(generate, (None, 0, 0)))
    ours = run(load_prior(golden), batch_first(given["eps_gen"]), given["lengths"])
    valid = batch_first(given["valid"])
    keys = ("gen_z", "gen_logdet", "gen_log_p_z", "log_p_of_gen_z")
    for value, key in zip(ours, keys, strict=True):
        check(value, batch_first(exact[key]), MAX_ULPS, valid)


def test_every_file_is_compared(golden_dir):
    found = {p.stem for p in golden_dir.glob("prior_*.npz")}
    assert found == {f"prior_{name}" for name in PRIORS}
