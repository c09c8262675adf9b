import json

import pytest

from benchmarks import gpu, gpu_checks
from benchmarks.speed_cases import GATED, Case
from nlf_jax.errors import UserError

pytestmark = pytest.mark.usefixtures("quick_compilation")

LSTM = Case("steps", "train", "lstm", "tiny", batch=2, steps=4)


def run(output, *argv):
    """The exit code, and the cells in the file then, by name."""
    code = gpu.run(gpu.parse(["--quick", f"--output={output}", *argv]))
    return code, {cell["name"]: cell for cell in json.loads(output.read_text())["cells"]}


@pytest.fixture
def sections(monkeypatch):
    """Makes a section of functions by name the only one."""
    return lambda cells: monkeypatch.setattr(gpu, "SECTIONS", {"all": lambda _: cells.items()})


def interrupted():
    raise KeyboardInterrupt


def test_products_have_the_error_of_float32(tmp_path):
    code, cells = run(tmp_path / "new" / "gpu.json", "--only=products")
    assert code == 0
    assert cells["products/loop"]["ok"]
    assert "ok" not in cells["products/default-precision"]
    assert cells["products/round-trip/af_af/affine"]["largest_error"] < 1e-4


def test_tf32_is_noticed():
    def truncated(x, weight):
        kept = (gpu_checks.jax.lax.reduce_precision(a, 8, 10) for a in (x, weight))
        return gpu_checks.project(*kept)

    cell = gpu_checks.product_error(truncated)
    assert not cell["ok"]
    assert 1e-4 < cell["relative_error"] < 1e-3


def test_what_was_written_before_a_cut_off_stays(tmp_path, sections):
    output, calls = tmp_path / "gpu.json", []
    cells = {"a": lambda: calls.append("a") or {"x": 1}, "b": interrupted}
    sections(cells)
    with pytest.raises(KeyboardInterrupt):
        run(output)
    assert [cell["name"] for cell in json.loads(output.read_text())["cells"]] == ["a"]
    sections(cells | {"b": lambda: {"x": 2}})
    assert {name: cell["x"] for name, cell in run(output)[1].items()} == {"a": 1, "b": 2}
    assert calls == ["a"]


def test_a_failure_is_no_reason_to_stop_and_is_tried_again(tmp_path, sections):
    output = tmp_path / "gpu.json"
    sections({"a": lambda: 1 / 0, "b": lambda: {"ok": True}, "c": lambda: {"note": "no torch"}})
    code, cells = run(output)
    assert (code, cells["a"]["error"]) == (1, "ZeroDivisionError: division by zero")
    assert cells["b"]["ok"]
    sections({"a": lambda: {"ok": True}, "c": lambda: {"x": 1}})
    code, cells = run(output)
    assert (code, cells["a"]["ok"], cells["c"]["x"]) == (0, True, 1)
    sections({"d": lambda: {"ok": False}})
    assert run(output)[0] == 1


def test_a_file_of_another_device_is_kept(tmp_path):
    output = tmp_path / "gpu.json"
    output.write_text(json.dumps(gpu.about(True) | {"device": "another", "cells": []}))
    with pytest.raises(UserError, match="another device: remove it"):
        run(output, "--only=products")


def test_a_section_that_is_none(tmp_path):
    with pytest.raises(UserError, match="--only=typo: the sections are products, twice"):
        run(tmp_path / "gpu.json", "--only=steps,typo")


def test_ratios_are_to_the_lstm_of_the_same_shape():
    other = GATED
    gated = Case("steps", "train", "af_scf", "tiny", batch=2, steps=4, changes=other)
    names = [LSTM.name, LSTM.name.replace("/lstm/", "/torch/"), gated.name, "steps/x/lstm/y-S1"]
    seconds = zip(names, (2.0, 1.0, 8.0, 4.0), strict=True)
    cells = gpu.with_ratios({name: {"seconds": value} for name, value in seconds})
    assert [cell["ratio_to_lstm"] for cell in cells.values()] == [1, 0.5, 4, 1]


def test_time_of_a_step():
    cell = gpu.time_of(LSTM, quick=True)
    assert min(cell["seconds"], cell["peak_mbytes"], cell["compile_seconds"]) > 0


def test_torch_is_timed_or_missing():
    cell = gpu.time_of_torch(LSTM, quick=True)
    assert cell.get("seconds", 0) > 0 or "torch is not installed" in cell["note"]


def test_training_twice_and_parameters_that_differ(monkeypatch):
    cell = gpu_checks.same_bits(LSTM)
    assert cell["ok"]
    assert cell["differing"] == {}
    ones, twos = ({"w": gpu_checks.np.full(2, x)} for x in (1.0, 2.0))
    results = iter([(ones, {"scatter": 1}), (twos, {})])
    monkeypatch.setattr(gpu_checks, "trained", lambda case: next(results))
    cell = gpu_checks.same_bits(LSTM)
    assert cell == {"ok": False, "differing": {"w": 1.0}, "suspects": {"scatter": 1}}


def test_files_of_tests_are_run_and_counted(tmp_path, monkeypatch):
    assert all((gpu_checks.ROOT / "tests" / f"{name}.py").is_file() for name in gpu_checks.TESTS)
    path = tmp_path / "test_it.py"
    path.write_text(
        "import pytest\n"
        "def test_a(record_property): record_property('part', 0.5)\n"
        "def test_b(record_property): record_property('part', 1.5); assert False, '9 ulps'\n"
        "def test_c(): pytest.skip('no data')\n"
    )
    cell = gpu_checks.run_tests(path)
    assert [cell[name] for name in ("ok", "passed", "failed", "skipped")] == [False, 1, 1, 1]
    assert cell["largest_part_of_tolerance"] == 1.5
    [failure] = cell["failures"]
    assert failure.startswith("test_b: AssertionError: 9 ulps")
    path.write_text("import pytest\ndef test_c(): pytest.skip('no data')\n")
    assert gpu_checks.run_tests(path)["note"] == "no data"
    monkeypatch.setattr(gpu_checks.importlib.util, "find_spec", lambda name: None)
    assert gpu_checks.run_tests(path) == {"note": "pytest is not installed"}
