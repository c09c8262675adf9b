import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from benchmarks import speed
from benchmarks.speed_cases import MODELS, Case, sweep_cases, table_cases
from benchmarks.speed_lstm import (
    LayerCase,
    flax_layer,
    layer_cases,
    make_program,
    our_layer,
    plain_scan,
    torch_call,
)
from benchmarks.speed_operations import product_bytes, product_flops
from benchmarks.speed_report import draw_generation
from benchmarks.timing import Compiled, make_references
from nlf_jax.errors import UserError
from nlf_jax.nn.lstm import LSTMCell

pytestmark = pytest.mark.usefixtures("quick_compilation")

TINY = [Case("generate", "generate", "lstm", "tiny", batch=1, steps=t) for t in (2, 3)]
LAYERS = [LayerCase(task, batch=2, hidden=4, steps=3) for task in ("forward", "gradient")]


@pytest.fixture
def cell():
    """The weights of the layers."""
    return LSTMCell(4, 4, rngs=nnx.Rngs(0))


@pytest.fixture(autouse=True)
def _small_references(monkeypatch):
    small = make_references(matmul_size=8, read_bytes=2**16)
    monkeypatch.setattr(speed, "resident_mbytes", lambda case: 1.0)
    monkeypatch.setattr(speed, "make_references", lambda: small)


def assert_close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def traced(case):
    """The jaxpr of what a case measures; its arrays are not computed."""

    def run():
        program = case.program()
        return program.function(*program.arguments)

    return jax.make_jaxpr(run)().jaxpr


def results_of_layer(case, apply, weights):
    """Outputs, and the gradient of the inputs if the case has one."""
    program = make_program(case, apply, weights)
    result = program.function(*program.arguments)
    return [result] if case.task == "forward" else [result[0], result[1][1]]


def test_products_in_loops_and_functions_are_counted_as_often_as_they_run():
    @jax.jit
    def function(x, weight):
        def step(x, _):
            return jax.jit(jnp.dot)(x, weight), None

        return jax.lax.scan(step, x, None, length=7)[0] @ jnp.ones((5, 3))

    x, weight = jnp.ones((2, 5)), jnp.ones((5, 5))
    jaxpr = jax.make_jaxpr(function)(x, weight).jaxpr
    assert product_flops(jaxpr) == 2 * (7 * 2 * 5 * 5 + 2 * 5 * 3)
    assert product_bytes(jaxpr) == 4 * (7 * 5 * 5 + 5 * 3)


def test_operations_of_a_score_counted_by_hand():
    case = Case("nll", "nll", "lstm", "tiny", batch=2, steps=4)
    symbol_gates, recurrent, output = 51 * 8 * 32, 2 * 3 * 3 * 8 * 32, 2 * 4 * (8 * 8 + 8 * 51)
    bias = 8 * 51
    assert product_flops(traced(case)) == 2 * (symbol_gates + recurrent + output + bias)


def test_operations_and_bytes_of_generation_counted_by_hand():
    jaxpr = traced(Case("generate", "generate", "lstm", "tiny", batch=1, steps=5))
    step = 3 * 8 * 32 + 8 * 8 + 2 * 8 * 51
    assert product_flops(jaxpr) == 2 * (51 * 8 * 32 + 5 * step)
    assert product_bytes(jaxpr) == 4 * (51 * 8 + 5 * step)


def test_a_gradient_is_three_times_the_forward_pass(cell):
    programs = [make_program(case, our_layer, cell) for case in LAYERS]
    forward, gradient = (
        product_flops(program.function.trace(*program.arguments).jaxpr.jaxpr)
        for program in programs
    )
    assert forward == 2 * 3 * 2 * (4 + 4) * 16
    assert gradient == 3 * forward


@pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.task)
def test_layers_agree(case, cell):
    ours = results_of_layer(case, our_layer, cell)
    for apply, weights in (flax_layer(cell), (plain_scan, cell)):
        jax.tree.map(assert_close, results_of_layer(case, apply, weights), ours)


@pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.task)
def test_torchs_layer_agrees(case, cell):
    pytest.importorskip("torch")
    result = torch_call(case, cell)()
    theirs = [result] if case.task == "forward" else [result[0], result[1][-1]]
    theirs = [tensor.detach().numpy() for tensor in theirs]
    jax.tree.map(assert_close, theirs, results_of_layer(case, our_layer, cell))


def test_ratio_is_theirs_over_ours_and_scaled_to_one_rate():
    case = Case("train", "train", "lstm", "tiny", published=6.0)
    compiled = Compiled(
        print, seconds=1.5, peak=3_000_000, flops=10**11, read=5 * 10**9, sequential=7
    )
    rates = {"matmul": 4e11, "read": 1e10}
    cell = speed.figures(case, compiled, [1.0, 9.0, 2.0], rates)
    assert (cell["name"], cell["seconds"]) == ("train/tiny/lstm/ptb-B15-T128-S1", 2.0)
    assert (cell["theirs"], cell["ratio"], cell["scaled"]) == (6.0, 3.0, 0.75)
    assert (cell["matmul_fraction"], cell["reading_fraction"]) == (0.125, None)
    assert speed.figures(TINY[0], compiled, [2.0], rates)["reading_fraction"] == 0.25


def test_ratio_to_another_implementation():
    compiled = Compiled(print, seconds=1.5, peak=3_000_000, flops=10**11, read=1, sequential=7)
    cell = speed.figures(LAYERS[0], compiled, [2.0], {"matmul": 4e11, "read": 1e10})
    rivals = {"flax": print, "torch": "not installed"}
    flax, torch = speed.beside(cell, rivals, {"flax": [4.0, 99.0, 5.0]})
    assert flax["name"] == "lstm-layer/forward/B2-H4-T3/flax"
    assert (flax["seconds"], flax["theirs"], flax["ratio"], flax["scaled"]) == (2.0, 5.0, 2.5, None)
    assert torch == {"name": "lstm-layer/forward/B2-H4-T3/torch", "note": "not installed"}


def test_table_has_every_cell_once():
    cases = [*table_cases(), *layer_cases(), *sweep_cases()]
    assert len({case.name for case in cases}) == len(cases)
    assert sum(case.published is not None for case in cases) == 44


def run_pieces(folder, *pieces):
    """Measures tiny cells; the cells in the file then, by name."""
    output = folder / "results" / "speed.json"
    for only in pieces:
        argv = ["--quick", f"--only={only}", f"--output={output}", f"--plot={folder / 'p.png'}"]
        speed.run(speed.parse(argv), [*TINY, *LAYERS])
    return {cell["name"]: cell for cell in json.loads(output.read_text())["cells"]}


def test_pieces_fill_one_file(tmp_path, capsys):
    cells = run_pieces(tmp_path, "lstm/ptb-B1-T3", "lstm/ptb")
    assert list(cells) == [TINY[1].name, TINY[0].name]
    assert all(cell["seconds"] > 0 and cell["peak_mbytes"] > 0 for cell in cells.values())
    assert capsys.readouterr().out.count(TINY[1].name) == 2


def test_layer_without_torch(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    cells = run_pieces(tmp_path, "forward")
    names = [f"lstm-layer/forward/B2-H4-T3/{rival}" for rival in ("flax", "scan", "torch")]
    assert list(cells) == names
    assert all(cells[name]["ratio"] > 0 for name in names[:2])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.split(maxsplit=1) == [names[2], "torch is not installed: pip install .[torch]"]


def test_only_that_matches_nothing():
    with pytest.raises(UserError, match="--only=typo: no cell's name has it"):
        speed.select(TINY, "T2,typo")


def test_picture_of_generation_time(tmp_path):
    names = [f"sweep-generate-T/small/{m}/ptb-B1-T{t}-S1" for m in MODELS for t in (32, 64)]
    draw_generation({name: {"seconds": 0.1} for name in names}, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 0
