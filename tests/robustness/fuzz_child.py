"""The process that libFuzzer takes over to fuzz one reader; ``tests.robustness.fuzz`` starts it.

    python -m tests.robustness.fuzz_child TARGET DIRECTORY INPUTS SEED

libFuzzer never returns, so the counts are kept in a file.
"""

import importlib
import logging
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.robustness.guard import Guard

MAX_MEGABYTES, MAX_BYTES = 1000, 4096
# Of the processor; by the clock, which other work on the machine slows down, a hang is told.
MAX_SECONDS, HANG_SECONDS = 5, 120
# The rest of what parses is in C, which would need a build of its own.
INSTRUMENTED = (
    "nlf_jax.data", "nlf_jax.training.workdir", "nlf_jax.training.progress",
    "nlf_jax.training.model_file", "nlf_jax.training.template", "nlf_jax.files",
    "nlf_jax.options", "nlf_jax.models.config", "nlf_jax.cli", "absl.flags",
)  # fmt: skip
COUNTS, FOUND = "counts", "found-"


def open_counts(directory: Path) -> np.ndarray:
    """How many inputs were accepted and refused: int64 [2], kept in a file of the directory."""
    return np.memmap(directory / COUNTS, np.int64, "r+", shape=(2,))


def main(name: str, directory: Path, inputs: int, seed: int) -> None:
    """Fuzzes a target; ends the process."""
    atheris = importlib.import_module("atheris")
    work = directory / "work"
    work.mkdir(exist_ok=True)
    with atheris.instrument_imports(include=list(INSTRUMENTED)):
        # The reader's modules, and what they import on first use.
        target = importlib.import_module("tests.robustness.fuzz_targets").TARGETS[name]
        for content in target.seeds():
            target.read(content, work)
    _write_seeds(directory, target.seeds(), target.words)
    logging.disable()
    warnings.simplefilter("error")
    atheris.Setup(_arguments(directory, inputs, seed), counted(target.accepts, directory))
    atheris.Fuzz()


def counted(accepts: Callable[[bytes, Path], bool], directory: Path) -> Callable[[bytes], None]:
    """The function that reads an input, counts it and raises if that did what no reader may."""
    work, counts, guard = directory / "work", open_counts(directory), Guard()

    def one_input(content: bytes) -> None:
        start = time.process_time()
        with guard.watch(work):
            accepted = accepts(content, work)
        counts[0 if accepted else 1] += 1
        if time.process_time() - start > MAX_SECONDS:
            raise TimeoutError(f"more than {MAX_SECONDS} seconds")
        if guard.offences:
            raise PermissionError(guard.offences[0])

    return one_input


def _write_seeds(directory: Path, seeds: list[bytes], words: tuple[str, ...]) -> None:
    (directory / "corpus").mkdir(exist_ok=True)
    for number, content in enumerate(seeds):
        (directory / "corpus" / str(number)).write_bytes(content)
    codes = (word.encode("utf-8", "surrogateescape").hex(" ").split() for word in words)
    lines = ('"' + "".join(f"\\x{code}" for code in each) + '"\n' for each in codes)
    (directory / "words").write_text("".join(lines))


def _arguments(directory: Path, inputs: int, seed: int) -> list[str]:
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024 + MAX_MEGABYTES
    options = {
        "runs": inputs, "seed": seed, "max_len": MAX_BYTES, "timeout": HANG_SECONDS,
        "rss_limit_mb": megabytes, "dict": directory / "words",
        "artifact_prefix": directory / FOUND,
    }  # fmt: skip
    flags = [f"-{name}={value}" for name, value in options.items()]
    return [sys.argv[0], *flags, str(directory / "corpus")]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
