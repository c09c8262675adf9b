"""Whatever names are given, nothing is written outside of the workdir and the cache."""

import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nlf_jax.cli.commands import Experiment, main
from nlf_jax.cli.experiments import TEXT
from nlf_jax.errors import UserError
from nlf_jax.training.workdir import check_workdir

ROOT = Path(__file__).parents[2]
MODES = ("train", "eval", "sample", "reconstruct")
# Runs in a process of its own, as the hook of a guard stays.
PROGRAM = """
import json, pathlib, sys
from nlf_jax.cli.experiments import TEXT
from tests.robustness.guard import Guard
from nlf_jax.cli.commands import main
guard, (workdir, text_file, *own) = Guard(), sys.argv[1:]
flags = [f"--text_file={text_file}", f"--workdir={workdir}"]
tiny = ["--size=tiny", "--model=lstm", "--config.num_epochs=1"]
with guard.watch(*map(pathlib.Path, (workdir, *own)), may_run_code=True):
    codes = [main(TEXT, [*flags, *more]) for more in (tiny, ["--mode=sample"])]
print(json.dumps([codes, guard.offences]))
"""


@pytest.fixture
def temporary() -> Iterator[Path]:
    # From 3.14 on, multiprocessing writes to /tmp if the path is too long for a socket's.
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


def test_hostile_names_are_only_names(tmp_path, temporary):
    text_file, workdir = tmp_path / "in; >hacked\n.txt", tmp_path / "`>hacked` $(>hacked) %2e%2e"
    text_file.write_text("\n".join(f"line {n}" for n in range(40)))
    own = {"NLF_CACHE_DIR": tmp_path / "cache", "TMPDIR": temporary}
    settings = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, workdir, text_file, *own.values()],
        cwd=tmp_path, env=os.environ | own | settings, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    codes, offences = json.loads(ended.stdout.splitlines()[-1])
    assert codes == [0, 0]
    assert not offences
    assert set(tmp_path.iterdir()) == {text_file, workdir, own["NLF_CACHE_DIR"]}
    assert (workdir / "samples" / "samples-1.txt").is_file()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "name", ["lock", "config.json.tmp", "metrics.jsonl", "checkpoints", "samples/sample-1.mid"]
)
def test_links_out_of_the_workdir_are_refused(mode, name, tmp_path, capsys):
    victim, workdir = tmp_path / "victim", tmp_path / "workdir"
    victim.write_text("precious")
    (workdir / name).parent.mkdir(parents=True)
    (workdir / name).symlink_to(os.path.relpath(victim, (workdir / name).parent))
    assert main(TEXT, [f"--mode={mode}", f"--workdir={workdir}"]) == 2
    assert "is a link to outside of the workdir" in capsys.readouterr().err
    assert victim.read_text() == "precious"


def test_links_inside_of_the_workdir_are_allowed(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "best").symlink_to("7")
    (tmp_path / "link").symlink_to("run")
    check_workdir(tmp_path / "link")
    (tmp_path / "run" / "up").symlink_to("..")
    with pytest.raises(UserError, match="up is a link"):
        check_workdir(tmp_path / "link")


@pytest.mark.parametrize("name", ["a\\..\\..\\b", "[a]", "\udcff"])
def test_names_that_orbax_takes_for_others_are_refused(name, tmp_path, capsys):
    assert main(TEXT, [f"--workdir={tmp_path / name}"]) == 2
    assert "use a --workdir without" in capsys.readouterr().err
    assert not os.listdir(tmp_path)


def test_what_a_terminal_cannot_show_does_not_end_the_command(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    stub = Experiment(name="text", description="é \udcff", load_corpus=lambda *_: None)
    assert main(stub, ["--help"]) == 0
