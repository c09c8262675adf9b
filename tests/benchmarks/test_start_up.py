import pytest

from benchmarks.start_up import seconds_until
from nlf_jax.errors import UserError


def test_seconds_until_a_line():
    assert 0 < seconds_until(["this"], "Beautiful is") < 60


def test_a_command_that_never_says_it():
    with pytest.raises(UserError, match="ended without a line that begins 'step 1/'"):
        seconds_until(["this"], "step 1/")
