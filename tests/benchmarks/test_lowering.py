from functools import partial

import jax
import jax.numpy as jnp
import pytest

import nlf_jax
from benchmarks.lowering import PLATFORMS, Program, check, loops, lower, programs
from nlf_jax.models import ModelConfig
from tests.models.tiny import MAX_LENGTH, make_model

pytestmark = pytest.mark.usefixtures("quick_compilation")

STEPS = 7
VECTOR = jax.ShapeDtypeStruct((STEPS,), jnp.float32)


def scan(x):
    return jax.lax.scan(lambda total, x_t: (jnp.sin(total + x_t), None), 0.0, x)[0]


def repeat(x):
    return jax.lax.fori_loop(0, 3, lambda _, x: jnp.sin(x), x)


def until_small(x):
    return jax.lax.while_loop(lambda x: x.sum() > 1.0, lambda x: 0.5 * x, x)


def until_small_or_five(x):
    go_on = lambda carry: (carry[0] < 5) & (carry[1].sum() > 1.0)  # noqa: E731
    return jax.lax.while_loop(go_on, lambda carry: (carry[0] + 1, 0.5 * carry[1]), (0, x))


@pytest.mark.parametrize(
    ("function", "rounds"),
    [
        (jnp.sin, []),
        (scan, [STEPS]),
        (lambda x: scan(repeat(x)), [3, STEPS]),
        (lambda x: jax.lax.map(lambda x_t: repeat(x_t), x), [3, STEPS]),
        (until_small, [0]),
        (until_small_or_five, [5]),
        (lambda x: jax.vmap(until_small_or_five)(jnp.stack([x, 2 * x])), [5]),
    ],
)
def test_rounds_of_loops(function, rounds):
    assert sorted(loops(lower(Program("", jax.jit(function), (VECTOR,)), "tpu"))) == rounds


@pytest.mark.parametrize("function", [scan, until_small])
def test_a_loop_over_the_steps_is_found(function):
    report = check(Program("", jax.jit(function), (VECTOR,), STEPS), "tpu")
    assert report.problems == [f"a loop over {STEPS} steps"]


def test_a_loop_of_other_rounds_passes():
    assert not check(Program("", jax.jit(repeat), (VECTOR,), STEPS), "tpu").problems


@pytest.mark.parametrize("changes", [{}, {"posterior": "factorised"}, {"transform": "mixture"}])
def test_a_gated_inverse_flow_draws_without_a_loop_over_the_steps(changes):
    small = {"embedding": 3, "hidden": 3, "latent": 2, "lstm_layers": 1, "flow_hidden": 4}
    config = ModelConfig("iaf_scf", recurrence="gated", flow_layers=1, **small, **changes)
    _, nll, draw = programs(config, STEPS)
    assert draw.parallel_over == STEPS
    assert not check(draw, "tpu").problems
    assert STEPS in check(nll, "tpu").loops


def test_with_an_lstm_it_has_one():
    small = {"embedding": 3, "hidden": 3, "latent": 2, "lstm_layers": 1, "flow_hidden": 4}
    *_, draw = programs(ModelConfig("iaf_scf", flow_layers=1, **small), STEPS)
    report = check(draw._replace(parallel_over=STEPS), "tpu")
    assert report.problems == [f"a loop over {STEPS} steps"]


@pytest.mark.parametrize("name", ["af_scf", "af_codebook"])
def test_what_uses_the_latent_lowers_for_accelerators_too(name):
    model, key = jax.eval_shape(lambda: (make_model.__wrapped__(name), jax.random.key(0)))
    x, opening = (jax.ShapeDtypeStruct((n,), jnp.int32) for n in (MAX_LENGTH, 2))
    between = jax.jit(partial(nlf_jax.interpolate, num_points=3))
    onwards = jax.jit(partial(nlf_jax.continue_from, num_proposals=2))
    for function, arguments in ((between, (model, x, x, key)), (onwards, (model, opening, key))):
        for platform in PLATFORMS:
            assert check(Program("", function, arguments), platform).problems == []
    if name == "af_codebook":
        distance = jax.jit(lambda model: model.network.code_distance)
        assert check(Program("", distance, (model,)), "tpu").problems == []
