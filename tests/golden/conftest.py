"""Says in a JUnit report how much of the tolerance the golden tests need."""

import pytest

from tests.golden import golden


@pytest.fixture(autouse=True)
def _record_largest_error(record_property):
    golden.PARTS_OF_TOLERANCE.clear()
    yield
    if golden.PARTS_OF_TOLERANCE:
        record_property("largest_part_of_tolerance", max(golden.PARTS_OF_TOLERANCE))
