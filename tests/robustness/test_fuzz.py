import os
import subprocess
import sys

import pytest

from nlf_jax.errors import UserError
from tests.robustness import bombs, fuzz, fuzz_child
from tests.robustness.fuzz_targets import Target
from tests.robustness.guard import Guard

pytestmark = pytest.mark.usefixtures("quick_compilation")

guard = Guard()


@pytest.mark.parametrize(
    "offend",
    [
        lambda path: (path / "x").write_text(""),
        lambda path: open(path / ".." / "x", "a").close(),
        lambda path: (path / "new").mkdir(),
        lambda path: os.rename(path / "in" / "a", path / "b"),
        lambda path: eval("1"),
        lambda path: subprocess.run([sys.executable, "-V"], stdout=subprocess.DEVNULL, check=True),
    ],
    ids=["write", "append", "mkdir", "move", "eval", "process"],
)
def test_guard_notes_offences(offend, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_text("")
    with guard.watch(tmp_path / "in"):
        offend(tmp_path)
    assert guard.offences
    guard.offences.clear()


def test_guard_allows_reading_and_its_directories(tmp_path):
    (tmp_path / "outside").write_text("")
    (tmp_path / "in").mkdir()
    with guard.watch(tmp_path / "in"):
        (tmp_path / "outside").read_text()
        (tmp_path / "in" / "x").write_text("")
        open(os.devnull, "w").close()
    (tmp_path / "y").write_text("")
    assert not guard.offences


def refuse(content, directory):
    if content == b"no":
        raise UserError("no")
    if content == b"bad":
        (directory.parent / "stray").write_text("")


def test_child_counts_and_notices(tmp_path):
    (tmp_path / fuzz_child.COUNTS).write_bytes(bytes(16))
    one_input = fuzz_child.counted(Target(refuse, list).accepts, tmp_path)
    for content in (b"yes", b"no", b"yes"):
        one_input(content)
    assert fuzz_child.open_counts(tmp_path).tolist() == [2, 1]
    with pytest.raises(PermissionError, match=r"open of .*stray"):
        one_input(b"bad")


def test_child_notices_what_takes_long(monkeypatch, tmp_path):
    (tmp_path / fuzz_child.COUNTS).write_bytes(bytes(16))
    monkeypatch.setattr(fuzz_child, "MAX_SECONDS", 0)
    with pytest.raises(TimeoutError):
        fuzz_child.counted(lambda *_: sum(range(10**5)) > 0, tmp_path)(b"")


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ("x\n === Uncaught Python exception: ===\nKeyError: 3\nTraceback\n", "KeyError: 3"),
        ("==1==\nSUMMARY: libFuzzer: timeout\n", "libFuzzer: timeout"),
        (
            "Traceback\n\ntests.robustness.bombs.BombError: b\n",
            "tests.robustness.bombs.BombError: b",
        ),
        ("", "exit code -9"),
    ],
)
def test_failures_are_told_in_a_line_and_kept(output, problem, monkeypatch, tmp_path):
    def run(module, target, directory, *_):
        with open(f"{directory}/{fuzz_child.FOUND}crash-1", "wb") as file:
            file.write(b"input")
        return subprocess.CompletedProcess([], -9, "", output)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fuzz, "_run", run)
    with pytest.raises(fuzz.Failure) as caught:
        fuzz.fuzz("midi", 10, seed=0)
    assert str(caught.value) == f"{problem}; the input is runs/fuzz/midi-crash-1"
    assert (tmp_path / "runs/fuzz/midi-crash-1").read_bytes() == b"input"


def test_without_atheris_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fuzz"])
    monkeypatch.setattr(fuzz.importlib.util, "find_spec", lambda name: None)
    assert fuzz.main() == 2
    assert "atheris, which there is for Python 3.11 to 3.14" in capsys.readouterr().err


def test_bombs_are_measured(monkeypatch, tmp_path):
    monkeypatch.setitem(bombs.BOMBS, "small", ("text", lambda: b"x" * 1_000_000))
    measured = bombs.measure("small", tmp_path)
    assert (measured["bytes"], measured["accepted"]) == (1_000_000, False)
    monkeypatch.setattr(bombs, "MAX_MEGABYTES", -1)
    with pytest.raises(bombs.BombError, match=r"bomb 'small' took .* MB"):
        bombs.measure("small", tmp_path)


def test_atheris_runs_a_target():
    pytest.importorskip("atheris", reason="atheris is an extra")
    counts = fuzz.fuzz("vocabulary", 500, seed=0)
    assert counts["accepted"] + counts["refused"] == counts["inputs"] >= 500
    assert min(counts["accepted"], counts["refused"]) > 0
