"""Breaks the code in one place at a time and checks that a test notices.

    python -m tests.robustness.mutate [--only=objectives] [--output=results/mutations.json]

Each mutation of ``mutations.py`` is made in a copy of the checkout, where the tests that it names
are run. Prints what caught it; the exit code is 1 if one survived or could not be made.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nlf_jax.cli.exit_codes import exit_code
from nlf_jax.files import write_atomically
from tests.robustness.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 900
PASSED, FAILED = 0, 1
_FAILED_TEST = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


def main() -> int:
    """Makes the mutations that the command line asks for; 1 if one survived."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="part of the paths or reasons to try")
    parser.add_argument("--output", type=Path, help="where the outcome is written, JSON")
    arguments = parser.parse_args()
    chosen = [m for m in MUTATIONS if arguments.only in f"{m.path} {m.fault}"]
    with tempfile.TemporaryDirectory() as folder:
        copy = _copy_of_checkout(Path(folder) / "checkout")
        _require_green(copy, sorted({test for mutation in chosen for test in mutation.tests}))
        outcomes = [_attempt(copy, mutation) for mutation in chosen]
    survivors = [outcome for outcome in outcomes if not outcome["caught_by"]]
    print(f"{len(outcomes)} mutations, {len(survivors)} survived")
    if arguments.output:
        report = {"survivors": len(survivors), "mutations": outcomes}
        write_atomically(arguments.output, json.dumps(report, indent=2) + "\n")
    return int(bool(survivors))


def _copy_of_checkout(target: Path) -> Path:
    """The files that git knows or would know."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    return target


def _require_green(copy: Path, tests: Sequence[str]) -> None:
    code, output = _run_tests(copy, tests, timeout=None)
    if code != PASSED:
        sys.exit(f"the tests fail without any mutation:\n{output[-3000:]}")


def _attempt(copy: Path, mutation: Mutation) -> dict[str, Any]:
    """Makes the mutation, runs its tests and takes it back."""
    path, start = copy / mutation.path, time.monotonic()
    source = path.read_text()
    if source.count(mutation.before) != 1:
        sys.exit(f"{mutation.path} has {mutation.before!r} {source.count(mutation.before)} times.")
    path.write_text(source.replace(mutation.before, mutation.after))
    try:
        code, output = _run_tests(copy, mutation.tests, TIMEOUT_S)
    finally:
        path.write_text(source)
    caught = _FAILED_TEST.search(output) if code == FAILED else None
    caught_by = caught.group(1) if caught else None
    outcome = {"path": mutation.path, "fault": mutation.fault, "caught_by": caught_by}
    verdict = caught_by or "SURVIVED" + ("" if code == PASSED else f" (code {code})")
    print(f"{mutation.fault}: {verdict}, {time.monotonic() - start:.0f} s", flush=True)
    return outcome


def _run_tests(copy: Path, tests: Sequence[str], timeout: float | None) -> tuple[int, str]:
    """pytest's exit code and output; tests that hang count as failed."""
    options = ["-n0", "-x", "-q", "-p", "no:cacheprovider", "-rfE", "--tb=no"]
    command = [sys.executable, "-m", "pytest", *options, *tests]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        ended = subprocess.run(
            command, cwd=copy, env=environment, timeout=timeout, capture_output=True, text=True
        )
    except subprocess.TimeoutExpired:
        return FAILED, "FAILED timeout"
    return ended.returncode, ended.stdout


if __name__ == "__main__":
    sys.exit(exit_code(main))
