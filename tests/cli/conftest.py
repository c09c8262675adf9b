"""Everything here compiles much more than it runs."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def _quick_compilation(quick_compilation):
    """See ``quick_compilation``."""


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    """The compiled programs of tests don't go into the user's cache; no test is run by make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NLF_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("MAKELEVEL", raising=False)
        yield
