"""Layers and flows across D against the authors' numbers.

Their `logdet` is log |d latent / d noise| in both directions. Without `swap_trngen_dirs` their
`forward` goes from latent to noise, with it from noise to latent; `generate` goes back.
"""

import jax
import pytest
from flax import nnx

from nlf_jax.bijectors.base import Inverse
from nlf_jax.bijectors.coupling import SplitCoupling
from nlf_jax.bijectors.masked_autoregressive import MaskedAutoregressive
from nlf_jax.bijectors.scalar import TRANSFORMS, inverted
from nlf_jax.models import ModelConfig
from nlf_jax.models.priors import hidden_flow
from tests.golden import name_map
from tests.golden.golden import Golden, check, load

MAX_ULPS = 8
LAYERS = [
    f"layer_{kind}_{variant}_D{size}"
    for kind, size, variants in [
        ("af", 5, ("nlsq_fwd", "nlsq_rev")),
        ("af", 6, ("affine_fwd", "affine_rev")),
        ("af", 6, ("nlsq_fwd", "nlsq_rev", "nlsq_fwd_swap", "nlsq_rev_swap")),
        ("scf", 5, ("affine_fwd", "affine_rev")),
        ("scf", 5, ("nlsq_fwd", "nlsq_rev", "nlsq_fwd_swap", "nlsq_rev_swap")),
        ("scf", 6, ("affine_fwd", "affine_rev")),
        ("scf", 6, ("nlsq_fwd", "nlsq_rev", "nlsq_fwd_swap", "nlsq_rev_swap")),
    ]
    for variant in variants
]
VARIANTS = ("3", "3_revfirst", "3_swap", "3_swap_revfirst", "5")
FLOWS = [f"flow_{kind}{variant}" for kind in ("af", "scf") for variant in VARIANTS]


def make_layer(config):
    transform = TRANSFORMS[config["transform"]]
    sizes = (config["data_dim"], config["cond_dim"], config["n_hidden_units"])
    options = {"reverse": config["input_order"][0] != 1, "rngs": nnx.Rngs(0)}
    if config["layer"] == "scf":
        return SplitCoupling(*sizes, config["n_hidden_layers"], transform, **options)
    if not config["swap_trngen_dirs"]:
        return MaskedAutoregressive(*sizes, config["n_hidden_layers"], transform, **options)
    flipped = inverted(transform)
    return Inverse(MaskedAutoregressive(*sizes, config["n_hidden_layers"], flipped, **options))


def make_flow(config):
    ours = ModelConfig(
        model="af_af" if config["flow"] == "af" else "af_scf",
        latent=config["data_dim"],
        flow_layers=config["num_flow_layers"],
        flow_hidden=config["n_hidden_units"],
        flow_hidden_layers=config["n_hidden_layers"],
        transform=config["transform"],
    )
    return hidden_flow(
        ours,
        config["cond_dim"],
        noise_first=config["swap_trngen_dirs"],
        first=int(config["reverse_first_layer"]),
        rngs=nnx.Rngs(0),
    )


def check_directions(bijector, golden):
    """Both directions, and there and back."""
    given, exact = golden["in"], golden["out64"]
    swap, logdet0 = golden.config["swap_trngen_dirs"], given.get("logdet0", 0.0)
    forward, inverse = bijector.forward_and_log_det, bijector.inverse_and_log_det
    there, back = (forward, inverse) if swap else (inverse, forward)
    sign = 1 if swap else -1

    @jax.jit
    @jax.vmap
    def both(y, x, context):
        generated = back(x, context)
        return there(y, context), generated, there(generated[0], context)

    (x, log_det), (y, log_det_back), (again, _) = both(given["y"], given["x"], given["cond"])
    check(x, exact["forward_x"], MAX_ULPS)
    check(logdet0 + sign * log_det, exact["forward_logdet"], MAX_ULPS)
    check(y, exact["generate_y"], MAX_ULPS)
    check(logdet0 - sign * log_det_back, exact["generate_logdet"], MAX_ULPS)
    check(again, exact["forward_of_generate_x"], MAX_ULPS)


@pytest.mark.parametrize("name", LAYERS)
def test_layer(golden_dir, name):
    golden = Golden(golden_dir / f"{name}.npz")
    layer = make_layer(golden.config)
    load(layer, name_map.hidden_layer(layer, ""), golden["param"])
    check_directions(layer, golden)


@pytest.mark.parametrize("name", FLOWS)
def test_flow(golden_dir, name):
    golden = Golden(golden_dir / f"{name}.npz")
    flow = make_flow(golden.config)
    entries = name_map.hidden_flow(flow, "", golden.config["swap_trngen_dirs"])
    load(flow, entries, golden["param"])
    check_directions(flow, golden)


@pytest.mark.parametrize("name", LAYERS)
def test_conditioner(golden_dir, name):
    golden = Golden(golden_dir / f"{name}.npz")
    given, exact, config = golden["in"], golden["out64"], golden.config
    layer = make_layer(config)
    load(layer, name_map.hidden_layer(layer, ""), golden["param"])
    net = name_map.unwrapped(layer).net
    if config["layer"] == "af":
        raw = jax.vmap(net)(given["y"], given["cond"])
        check(raw, exact["made_params_at_y"], MAX_ULPS)
    else:
        raw = jax.vmap(net)(given["y"][:, config["first_indices"]], given["cond"])
        exact = exact["scf_params_at_y"]
        check(raw.reshape(exact.shape), exact, MAX_ULPS)


def test_every_file_is_compared(golden_dir):
    found = {p.stem for p in golden_dir.glob("*.npz") if p.stem.startswith(("layer", "flow"))}
    assert found == {*LAYERS, *FLOWS}
