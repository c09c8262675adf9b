import jax
import numpy as np
import pytest

from benchmarks.fixed_point import recurrent_of, scan, solve
from nlf_jax.errors import UserError
from tests.models.tiny import make_model

pytestmark = pytest.mark.usefixtures("quick_compilation")

STEPS = 4


@pytest.mark.parametrize("model", ["af_scf", "iaf_af"])
def test_fixed_point_is_the_scan_s_result(model):
    flow = recurrent_of(make_model(model).network.prior)
    noise = jax.random.normal(jax.random.key(0), (STEPS, 3, 2))
    z, count = solve(flow, noise, tolerance=1e-6)
    np.testing.assert_allclose(z, scan(flow, noise), atol=1e-5)
    assert 1 < count <= STEPS + 1


def test_a_prior_without_a_flow_across_time():
    with pytest.raises(UserError, match="no flow across time"):
        recurrent_of(make_model("af_only").network.prior)
