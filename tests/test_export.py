import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.lowering import Program, check, inspect, lower, programs
from nlf_jax.models import ModelConfig

MATRIX = jax.ShapeDtypeStruct((2, 2), jnp.float32)


def module_of(function, *arguments, platform="tpu"):
    return lower(Program("", jax.jit(function), arguments or (MATRIX,)), platform)


@pytest.mark.parametrize(
    ("model", "name", "platform", "changes"),
    [
        ("lstm", "train step", "cuda", {}),
        ("af_scf", "nll", "tpu", {}),
        ("iaf_af", "sample", "tpu", {}),
        ("gated", "train step", "tpu", {}),
        ("af_codebook", "sample", "cuda", {"recurrence": "gated"}),
        ("af_codebook", "nll", "tpu", {"emission": "bernoulli", "frame_units": 4}),
        ("af_nohidden", "sample", "tpu", {"transform": "mixture", "posterior": "factorised"}),
    ],
)
def test_modules_are_fit_for_an_accelerator(model, name, platform, changes):
    small = {"embedding": 3, "hidden": 3, "latent": 2, "lstm_layers": 1, "dropout": 0.1}
    config = ModelConfig(model, flow_layers=1, flow_hidden=4, **small, **changes)
    program = next(each for each in programs(config, max_length=4) if each.name == name)
    report = check(program, platform)
    # The factorised model draws with as few as four.
    assert report.products > (2 if "posterior" in changes else 5)
    assert not report.problems


def test_drawing_the_keys_of_a_frame_in_order_is_fit_for_an_accelerator():
    frames = {"emission": "bernoulli", "mixtures": 2, "frame_units": 4}
    small = {"embedding": 3, "hidden": 3, "latent": 2, "lstm_layers": 1}
    *_, draw = programs(ModelConfig("lstm", **small, **frames), max_length=3)
    assert not check(draw, "tpu").problems


@pytest.mark.parametrize("model", ["lstm", "af_scf"])
def test_bfloat16_products_pass_only_where_they_are_asked_for(model):
    small = {"embedding": 3, "hidden": 3, "latent": 2, "lstm_layers": 1, "products": "bfloat16"}
    step, *_ = programs(ModelConfig(model, flow_layers=1, flow_hidden=4, **small), max_length=4)
    module = lower(step, "tpu")
    assert not inspect(module, "bfloat16").problems
    (problem,) = inspect(module).problems
    assert "product without HIGHEST" in problem


def test_products_with_precision_pass():
    product = lambda x: jnp.matmul(x, x, precision="highest")  # noqa: E731
    report = inspect(module_of(product))
    assert (report.products, report.problems) == (1, [])


@pytest.mark.parametrize("precision", [None, "default", "high"])
def test_product_without_full_precision_is_found(precision):
    product = lambda x: jnp.matmul(x, x, precision=precision) + x  # noqa: E731
    (problem,) = inspect(module_of(product)).problems
    assert problem.startswith("1 x product without HIGHEST")


def test_float64_is_found():
    with jax.enable_x64(True):
        module = module_of(lambda x: x.astype(jnp.float64).sum())
    assert any("float64" in problem for problem in inspect(module).problems)


def call_the_host(x):
    jax.debug.callback(lambda value: None, x)
    return x


def test_host_callback_is_found():
    # `jax.export` refuses what calls back; this is the module before it does.
    problems = inspect(jax.jit(call_the_host).lower(MATRIX).as_text()).problems
    assert any("custom call" in problem for problem in problems)


def test_what_cannot_be_lowered_is_a_problem():
    report = check(Program("", jax.jit(call_the_host), (MATRIX,)), "tpu")
    assert report.problems[0].startswith("cannot be lowered: ")


def test_host_transfer_is_found():
    text = "%1 = stablehlo.send %0 : (tensor<f32>) -> !stablehlo.token"
    assert inspect(text).problems == ["1 x host transfer, for instance stablehlo.send"]


def test_call_of_a_cpu_library_is_found():
    module = module_of(jnp.linalg.eigh, platform="cpu")
    assert any("custom call" in problem for problem in inspect(module).problems)


def test_dynamic_shape_is_found():
    (rows,) = jax.export.symbolic_shape("rows")
    argument = jax.ShapeDtypeStruct((rows, 2), np.float32)
    assert any(
        "dynamic shape" in problem for problem in inspect(module_of(jnp.sin, argument)).problems
    )
