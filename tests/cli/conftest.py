"""Everything here compiles much more than it runs."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def _quick_compilation(quick_compilation):
    """See `quick_compilation`."""
