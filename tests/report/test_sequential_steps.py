from functools import partial

import jax
import jax.numpy as jnp
import pytest

from nlf_jax.report.sequential_steps import sequential_steps
from nlf_jax.sampling import sample
from tests.models.tiny import MAX_LENGTH, make_model

X = jax.ShapeDtypeStruct((3,), jnp.float32)


def loop(rounds, inner=lambda x: x + 1):
    return lambda x: jax.lax.scan(lambda x, _: (inner(x), None), x, length=rounds)[0]


def until(rounds):
    """A loop that may end before."""
    return lambda x: jax.lax.while_loop(
        lambda state: (state[0] < rounds) & (state[1].sum() < 9),
        lambda state: (state[0] + 1, state[1] + 1),
        (0, x),
    )[1]


PROGRAMS = {
    "no loop": (lambda x: x + 1, 0),
    "a loop": (loop(5), 5),
    "one after the other": (lambda x: loop(5)(loop(3)(x)), 8),
    "side by side": (lambda x: loop(5)(x) + loop(3)(x), 5),
    "inside of each other": (loop(5, loop(3)), 15),
    "in a function": (loop(5, jax.jit(loop(3))), 15),
    "until": (until(48), 48),
    "until inside": (loop(2, until(48)), 96),
    "a choice": (lambda x: jax.lax.cond(x.sum() > 0, loop(5), loop(3), x), 5),
    "associative": (lambda x: jax.lax.associative_scan(jnp.add, x), 0),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_rounds_of_programs(name):
    function, rounds = PROGRAMS[name]
    assert sequential_steps(function, X) == rounds


@pytest.mark.parametrize(
    ("model", "changes", "rounds"),
    [
        ("lstm", {}, MAX_LENGTH),
        ("gated", {}, MAX_LENGTH),
        ("af_codebook", {}, MAX_LENGTH),
        ("af_codebook", {"recurrence": "gated"}, MAX_LENGTH),
        # The dimensions one after the other, two layers of two at every step; then the likelihood.
        ("af_af", {}, (2 * 2 + 1) * MAX_LENGTH),
        ("iaf_scf", {"recurrence": "gated"}, 0),
        ("iaf_scf", {"recurrence": "gated", "posterior": "factorised"}, 0),
    ],
)
def test_rounds_of_drawing(model, changes, rounds):
    """With the gated recurrence IAF/SCF has no loop, in the prior nor in the likelihood."""
    drawing = partial(sample, length=MAX_LENGTH)
    assert sequential_steps(drawing, make_model(model, **changes), jax.random.key(0)) == rounds
