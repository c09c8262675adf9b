import json
import subprocess

import pytest

from benchmarks import compare
from benchmarks.cell_process import CellProcess
from benchmarks.speed_cases import Case
from nlf_jax.errors import UserError

TINY = Case("generate", "generate", "lstm", "tiny", batch=1, steps=2)


class Instant(CellProcess):
    """A process whose calls take as long as the test says, one after the other."""

    def __init__(self, seconds):
        self._seconds, self.planned_mbytes, self.compiling_mbytes = list(seconds), 1.0, 2.0

    def _ask(self):
        return [self._seconds.pop(0) if self._seconds else 0.0, 3.0]

    def __exit__(self, *_):
        pass


def test_a_cell_runs_in_a_process_of_its_own():
    with CellProcess(TINY) as process:
        assert 0 < process.call() < 10
        assert process.planned_mbytes < process.resident_mbytes() < 2000


def test_a_process_that_ends_is_told(tmp_path):
    (tmp_path / "nlf_jax").mkdir()
    (tmp_path / "nlf_jax/__init__.py").write_text("raise ImportError")
    with pytest.raises(UserError, match="generate/tiny/lstm/ptb-B1-T2-S1 could not be measured"):
        CellProcess(TINY, tmp_path)


def test_ratio_is_before_over_now(monkeypatch, tmp_path, capsys):
    processes = [Instant([0.5] * 8), Instant([0.25] * 8)]
    monkeypatch.setattr(compare, "CellProcess", lambda *_: processes.pop(0))
    monkeypatch.setattr(compare, "package_of", lambda commit, folder: folder)
    only = "train/small/lstm/jsb"
    compare.main(["--before=x", f"--only={only}", f"--output={tmp_path / 'c.json'}"])
    (row,) = json.loads((tmp_path / "c.json").read_text())["cells"]
    assert row["ratio"] == 2.0
    assert row["before"]["seconds"] == [0.5] * 7
    assert "2.00   3 -> 3 MB" in capsys.readouterr().out


def test_a_commit_that_is_none(tmp_path):
    with pytest.raises(UserError, match="--before=nonsense: "):
        compare.package_of("nonsense", tmp_path)


def test_the_package_of_a_commit(tmp_path):
    command = ["git", "rev-parse", "HEAD"]
    if subprocess.run(command, cwd=compare.ROOT, capture_output=True).returncode:
        pytest.skip("not a checkout")
    assert (compare.package_of("HEAD", tmp_path) / "nlf_jax/__init__.py").is_file()
