import json
import math

import jax
import pytest
from jax.extend import core

from experiments import bench
from experiments.bench_cases import MODELS, Case, make_program, sweep_cases, table_cases
from experiments.bench_flops import count_weights, generate_bytes, generate_flops
from experiments.bench_report import draw_generation
from nlf_jax.errors import UserError

TINY = [Case("generate", "generate", "lstm", "tiny", batch=1, steps=t) for t in (2, 3)]


def product_flops(jaxpr):
    """Operations of all matrix products, as often as they run."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            depth = math.prod(shape[axis] for axis in contracted)
            total += 2 * depth * math.prod(equation.outvars[0].aval.shape)
        times = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        inner = [p for p in equation.params.values() if isinstance(p, core.ClosedJaxpr)]
        total += times * sum(product_flops(part.jaxpr) for part in inner)
    return total


@pytest.mark.parametrize(
    ("model", "data"), [*((model, "ptb") for model in MODELS), ("lstm", "jsb"), ("af_scf", "jsb")]
)
def test_operations_of_a_score_are_those_of_its_program(model, data):
    case = Case("nll", "nll", model, "tiny", data=data, batch=2, steps=4, samples=3)

    def score():
        program = make_program(case)
        return program.function(*program.arguments)

    assert case.flops() == product_flops(jax.make_jaxpr(score)().jaxpr)


def test_operations_and_bytes_of_generation_counted_by_hand():
    lstm = Case("generate", "generate", "lstm", "tiny").config()
    first, rest = 8 * 32, 3 * 8 * 32 + 8 * 8 + 8 * 51
    assert generate_flops(lstm, 51, batch=3, steps=5) == 2 * 3 * 5 * (first + rest)
    assert generate_bytes(lstm, 51, steps=5) == 4 * (first + 5 * rest)
    iaf = Case("generate", "generate", "iaf_scf", "tiny").config()
    w = count_weights(iaf, 51)
    assert w.flow == 2 * (2 * 8 + 8 * 8 + 8 * 8 + 8 * 2 * 5)
    assert (w.prior_recurrent, w.decoder_recurrent) == (2 * 8 * 32, 4 * 8 * 32)
    once = w.initial + w.flow + w.prior_input + w.decoder_input
    assert generate_bytes(iaf, 51, steps=5) == 4 * (5 * 6 * 8 * 32 + once)


def test_table_has_every_cell_once():
    cases = [*table_cases(), *sweep_cases()]
    assert len({case.name for case in cases}) == len(cases)
    assert sum(case.published is not None for case in cases) == 44


def test_pieces_fill_one_file(tmp_path, capsys, monkeypatch, quick_compilation):
    small = bench.make_references(matmul_size=8, read_bytes=2**16)
    monkeypatch.setattr(bench, "make_references", lambda: small)
    output = tmp_path / "results" / "bench.json"
    for only in ("T3", "T2,T3"):
        argv = ["--quick", f"--only={only}", f"--output={output}", f"--plot={tmp_path / 'p.png'}"]
        bench.run(bench.parse(argv), TINY)
    cells = json.loads(output.read_text())["cells"]
    assert [cell["name"] for cell in cells] == [TINY[1].name, TINY[0].name]
    assert all(cell["seconds"] > 0 and cell["peak_mbytes"] > 0 for cell in cells)
    assert capsys.readouterr().out.count(TINY[1].name) == 2


def test_only_that_matches_nothing():
    with pytest.raises(UserError, match="--only=typo: no cell's name has it"):
        bench.select(TINY, "T2,typo")


def test_picture_of_generation_time(tmp_path):
    names = [f"sweep-generate-T/small/{m}/ptb-B1-T{t}-S1" for m in MODELS for t in (32, 64)]
    draw_generation({name: {"seconds": 0.1} for name in names}, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 0
