"""Fixtures for data that is not in the repository; a test that needs it is skipped without."""

import gc
import os
import pathlib

import jax
import pytest

# The command line turns it on, which would stay so for every test after it in this process.
jax.config.update("jax_enable_compilation_cache", False)

MANY_MAPS = 25_000


def _directory(variable: str) -> pathlib.Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set")
    path = pathlib.Path(value)
    if not path.is_dir():
        pytest.fail(f"{variable} is set, but {path} is no directory")
    return path


@pytest.fixture(scope="session")
def data_dir() -> pathlib.Path:
    """What `--data_dir` would be given: the folder with `ptb` and `polyphonic`."""
    return _directory("NLF_DATA_DIR")


@pytest.fixture(scope="session")
def ptb_dir(data_dir) -> pathlib.Path:
    """The three files of Penn Treebank."""
    if not (data_dir / "ptb").is_dir():
        pytest.skip("NLF_DATA_DIR has no ptb")
    return data_dir / "ptb"


@pytest.fixture(scope="session")
def golden_dir() -> pathlib.Path:
    """The authors' numbers."""
    return _directory("NLF_GOLDEN_DIR")


@pytest.fixture(scope="module", autouse=True)
def _room_for_programs():
    """Forgets compiled programs before they need more memory maps than Linux gives a process.

    That is 65,530; beyond, the next compilation crashes.
    """
    yield
    maps = pathlib.Path("/proc/self/maps")
    if maps.exists() and len(maps.read_text().splitlines()) > MANY_MAPS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="module")
def quick_compilation():
    """Compiles with few optimisations, for tests that compile much more than they run."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
