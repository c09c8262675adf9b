"""A cell of the benchmark in a process of its own, with the package of any commit.

    python -m benchmarks.cell_process '{"part": "", "task": "nll", "model": "lstm", "size": "tiny"}'

It compiles the cell and prints what memory that takes; for every line that it is given it then
calls the program once and prints the seconds.
"""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.process_memory import give_back_freed, mbytes, reset_peak
from benchmarks.speed_cases import Case
from benchmarks.timing import compile_program, seconds_of
from nlf_jax.errors import UserError

ROOT = Path(__file__).parents[1]


class CellProcess:
    """The other end, for who wants the figures.

    Args:
        case: the cell.
        package_in: the folder with the package ``nlf_jax``; the benchmarks are those here.

    Raises:
        UserError: the process ended, for instance as that package has no such model.
    """

    def __init__(self, case: Case, package_in: Path = ROOT):
        described = json.dumps(dataclasses.asdict(case))
        command = [sys.executable, "-m", "benchmarks.cell_process", described]
        # A module's folder of work comes before PYTHONPATH.
        self._process = subprocess.Popen(
            command,
            cwd=package_in,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._name = case.name
        self.planned_mbytes, self.compiling_mbytes = self._read()

    def call(self) -> float:
        """Seconds of one call."""
        return self._ask()[0]

    def resident_mbytes(self) -> float:
        """The most memory that the process had since it compiled, after one more call."""
        return self._ask()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def _ask(self) -> list[float]:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> list[float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.communicate()
            raise UserError(f"{self._name} could not be measured; what its process said is above.")
        return json.loads(line)


def main(described: str) -> None:
    """Serves calls; see the module."""
    fields = json.loads(described)
    fields["changes"] = tuple(map(tuple, fields.get("changes", ())))
    compiled = compile_program(Case(**fields).program())
    _say(compiled.peak / 1e6, mbytes("VmHWM"))
    give_back_freed()
    reset_peak()
    for _ in sys.stdin:
        _say(seconds_of(compiled.call), mbytes("VmHWM"))


def _say(*values: Any) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
