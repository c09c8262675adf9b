"""Affine and NLSq against float64, against the authors' numbers, and at the edges."""

import json

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import nlsq_accuracy
from benchmarks.nlsq_accuracy import forward64, inverse64, parameters64, ulps
from nlf_jax.bijectors.root_finding import bump
from nlf_jax.bijectors.scalar import (
    AFFINE,
    MAX_RAW_LOG_SCALE,
    NLSQ,
    TRANSFORMS,
    inverted,
    nlsq_forward_and_log_det,
)

EPS = 2.0**-23
solve_nlsq = jax.jit(nlsq_forward_and_log_det)
DIRECTIONS = ("forward_and_log_det", "inverse_and_log_det")
each_transform = pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
each_direction = pytest.mark.parametrize("direction", DIRECTIONS)


def draw(transform, n, spread=1.0, seed=0):
    rng = np.random.default_rng(seed)
    raw = spread * rng.standard_normal((n, transform.num_params))
    return raw.astype(np.float32), (3 * rng.standard_normal(n)).astype(np.float32)


def compiled(transform, direction):
    return jax.jit(getattr(transform, direction))


def on_vector(transform, direction):
    """The function of one vector [P + 1] = (raw, x), with results [2] = (y, log_det)."""
    return lambda v: jnp.stack(getattr(transform, direction)(v[:-1], v[-1]))


def affine_ulps(raw, x, expected):
    a, b = raw[..., 0], np.exp(raw[..., 1].astype(np.float64) / 2)
    return EPS * np.maximum(np.maximum(np.abs(x), np.abs(a)) / b, np.abs(expected))


def affine64(raw, x, sign):
    a, log_b = raw[..., 0], raw[..., 1] / 2
    return (a + np.exp(log_b) * x if sign > 0 else (x - a) * np.exp(-log_b)), sign * log_b


FLOAT64 = {
    (NLSQ, "forward_and_log_det"): forward64,
    (NLSQ, "inverse_and_log_det"): inverse64,
    (AFFINE, "forward_and_log_det"): lambda raw, x: affine64(raw, x, 1),
    (AFFINE, "inverse_and_log_det"): lambda raw, y: affine64(raw, y, -1),
}


def jacobian64(function, step):
    """Derivative of [N, M] -> [N, ...] by a five-point stencil, the new axis last."""
    stencil = {-2: 1 / 12, -1: -8 / 12, 1: 8 / 12, 2: -1 / 12}

    def jacobian(v):
        units = step * np.eye(v.shape[-1])
        columns = [sum(w * function(v + i * e) for i, w in stencil.items()) for e in units]
        return np.stack(columns, axis=-1) / step

    return jacobian


# The authors' numbers; `standard` is our forward, `reverse` our inverse on the same pair.


def golden_arrays(golden_dir, name, kind):
    file = np.load(golden_dir / f"transform_{name}.npz")
    return file, file[f"in/{kind}params"], file[f"in/{kind}x"]


@pytest.mark.parametrize("kind", ["", "hard_"])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_golden_inverse(golden_dir, name, kind):
    file, raw, x = golden_arrays(golden_dir, name, kind)
    value, log_det = compiled(TRANSFORMS[name], "inverse_and_log_det")(raw, x)
    expected = file[f"out64/{kind}reverse_x"]
    scale = {"nlsq": ulps, "affine": affine_ulps}[name](raw, x, expected)
    assert np.all(np.abs(value - expected) <= 4 * scale)
    np.testing.assert_allclose(
        -log_det.sum(-1), file[f"out64/{kind}reverse_logdet"], rtol=5e-7, atol=2e-6
    )


@pytest.mark.parametrize("kind", ["", "hard_"])
def test_golden_nlsq_forward_is_the_exact_root(golden_dir, kind):
    file, raw, x = golden_arrays(golden_dir, "nlsq", kind)
    y, log_det = solve_nlsq(raw, x)
    root = file[f"exact/{kind}standard_y"]
    conditioning = np.exp(forward64(raw, x)[1])
    assert np.all(np.abs(y - root) <= 4 * ulps(raw, root, x) * conditioning)
    np.testing.assert_allclose(
        log_det.sum(-1), file[f"exact/{kind}standard_logdet"], rtol=5e-7, atol=2e-6
    )


def test_golden_nlsq_forward_where_the_authors_formula_breaks_down(golden_dir):
    file, raw, x = golden_arrays(golden_dir, "nlsq", "hard_")
    broken = ~np.isfinite(file["out64/hard_standard_y"][:, 0])
    assert list(np.flatnonzero(broken)) == [6, 7]
    y, log_det = solve_nlsq(raw[broken, 0], x[broken, 0])
    np.testing.assert_allclose(y, file["exact/hard_standard_y"][broken, 0], rtol=2e-6)
    np.testing.assert_allclose(log_det, file["exact/hard_standard_logdet"][broken], rtol=1e-5)


@pytest.mark.parametrize("kind", ["", "hard_"])
def test_golden_affine_forward(golden_dir, kind):
    file, raw, x = golden_arrays(golden_dir, "affine", kind)
    y, log_det = compiled(AFFINE, "forward_and_log_det")(raw, x)
    bx = np.exp(raw[..., 1].astype(np.float64) / 2) * x
    scale = EPS * np.maximum(np.abs(bx), np.abs(raw[..., 0]))
    assert np.all(np.abs(y - file[f"out64/{kind}standard_y"]) <= 3 * scale)
    np.testing.assert_allclose(
        log_det.sum(-1), file[f"out64/{kind}standard_logdet"], rtol=5e-7, atol=5e-7
    )


# Both directions together


def thousandths(limit):
    return st.integers(-1000 * limit, 1000 * limit).map(lambda n: n / 1000)


@settings(max_examples=300, deadline=None)
@given(
    st.tuples(*(thousandths(limit) for limit in (10_000, 100, 100, 100, 10_000))),
    thousandths(10_000),
)
def test_nlsq_forward_solves_the_equation_at_any_parameters(raw, x):
    raw, x = np.float32(raw), np.float32(x)
    y, log_det = solve_nlsq(raw, x)
    assert np.isfinite([y, log_det]).all()
    y = np.float64(y)
    assert abs(inverse64(raw, y)[0] - x) <= 6 * ulps(raw, y, x)


def test_accuracy_command(golden_dir, tmp_path, capsys):
    output = tmp_path / "accuracy.json"
    flags = ["--draws=60000", f"--golden_dir={golden_dir}", f"--output={output}"]
    assert nlsq_accuracy.main(flags) == 0
    for result in json.loads(output.read_text()).values():
        assert result["nonfinite"] == 0
        assert max(result["backward_ulps"], result["round_trip_ulps"]) < 6
    assert nlsq_accuracy.main([f"--golden_dir={tmp_path}"]) == 2
    assert "transform_nlsq.npz; set --golden_dir" in capsys.readouterr().err


@each_transform
@pytest.mark.parametrize("spread", [0.3, 1.0, 2.5])
def test_round_trip_and_cancelling_log_dets(transform, spread):
    raw, x = draw(transform, 2000, spread)
    y, forward_log_det = compiled(transform, "forward_and_log_det")(raw, x)
    returned, inverse_log_det = compiled(transform, "inverse_and_log_det")(raw, y)
    if transform is NLSQ:
        scale = ulps(raw, np.float64(y), x)
    else:
        scale = affine_ulps(raw, y, returned)
    assert np.all(np.abs(returned - x) <= 5 * scale)
    np.testing.assert_allclose(forward_log_det, -inverse_log_det, rtol=1e-6, atol=1e-5)


@each_transform
@each_direction
def test_increasing(transform, direction):
    raw, _ = draw(transform, 300, spread=2.0)
    x = jnp.linspace(-12, 12, 401)
    values, _ = compiled(transform, direction)(raw[:, None], x)
    assert np.all(np.diff(values) > 0)


@each_transform
def test_inverted_exchanges_the_directions(transform):
    raw, x = draw(transform, 5)
    forward, inverse = DIRECTIONS
    for one, other in ((forward, inverse), (inverse, forward)):
        turned = compiled(inverted(transform), one)(raw, x)
        np.testing.assert_array_equal(turned, compiled(transform, other)(raw, x))
    assert inverted(transform).num_params == transform.num_params


# Derivatives in (raw, x), of the value and of the log_det


@each_transform
@each_direction
def test_first_and_second_derivatives(transform, direction):
    v = np.concatenate([a.reshape(100, -1) for a in draw(transform, 100)], axis=1)
    function = on_vector(transform, direction)
    double = FLOAT64[transform, direction]

    def expected(v):
        return np.stack(double(v[..., :-1], v[..., -1]), axis=-1)

    first = jacobian64(expected, 1e-3)(np.float64(v))
    second = jacobian64(jacobian64(expected, 2e-3), 2e-3)(np.float64(v))
    for mode in (jax.jacfwd, jax.jacrev):
        assert_close_per_example(jax.jit(jax.vmap(mode(function)))(v), first, 3e-6)
        assert_close_per_example(jax.jit(jax.vmap(mode(mode(function))))(v), second, 1e-5)


def assert_close_per_example(value, expected, tolerance):
    scale = np.abs(expected).reshape(len(expected), -1).max(1)
    error = np.abs(value - expected).reshape(len(expected), -1).max(1)
    assert np.max(error / scale) < tolerance


@each_direction
def test_log_det_is_the_log_of_the_derivative(direction):
    raw, x = draw(NLSQ, 500, spread=2.0)
    function = compiled(NLSQ, direction)
    _, (slope, _) = jax.jvp(lambda x: function(raw, x), (x,), (np.ones_like(x),))
    np.testing.assert_allclose(np.log(slope), function(raw, x)[1], rtol=1e-6, atol=1e-5)


@each_direction
def test_derivatives_are_finite_at_the_golden_extremes(golden_dir, direction):
    _, raw, x = golden_arrays(golden_dir, "nlsq", "hard_")
    v = np.concatenate([raw[:, 0], x], axis=1)
    first = jax.jacrev(on_vector(NLSQ, direction))
    both = jax.jit(jax.vmap(lambda v: (first(v), jax.jacfwd(first)(v))))(v)
    assert all(np.isfinite(derivative).all() for derivative in both)


@each_transform
@each_direction
def test_first_derivatives_are_finite_at_any_corner(transform, direction):
    corners = np.stack(np.meshgrid(*[[-1e3, 0, 1e3]] * transform.num_params), axis=-1)
    raw = np.float32(corners.reshape(-1, transform.num_params))
    function = on_vector(transform, direction)
    both = jax.jit(jax.vmap(lambda v: (function(v), jax.jacrev(function)(v))))
    for x in (-1e3, 0.0, 1e-3, 1e3):
        v = np.concatenate([raw, np.full_like(raw[:, :1], x)], axis=1)
        assert all(np.isfinite(result).all() for result in both(v))


def far_points():
    """Raw parameters and latents [N, 6] where |d y| is beyond 1e12 and b y is float32."""
    ends = (-70.0, -3.0, 0.0, 3.0, 70.0)
    far = np.float32([-1e38, -1e27, -1e20, 1e20, 1e27, 1e38])
    grid = np.meshgrid([0.0, -1e3], ends, [-1e3, 1.0], ends, [0.0, 1e3], far)
    v = np.stack(grid, axis=-1).reshape(-1, 6).astype(np.float32)
    _, b, _, d, _ = parameters64(v[:, :5])
    fits = np.maximum(np.abs(v[:, 5]), b * np.abs(v[:, 5])) < 1e38
    far = np.abs(d * np.float64(v[:, 5]))
    assert np.sum(fits & (far > 1e39)) > 50
    return v[fits & (far > 1e12)]


@each_direction
def test_nlsq_is_affine_far_out(direction):
    """With its derivatives: log_det +- log b, x = a + b y, although (d y + g)^2 is not float32."""
    v = far_points()
    (a, b, *_), y = parameters64(v[:, :5]), np.float64(v[:, 5])
    sign, slope, expected = 1, b, a + b * y
    if direction == "forward_and_log_det":
        v[:, 5] = expected
        sign, slope, expected = -1, 1 / b, (np.float64(v[:, 5]) - a) / b
    function = on_vector(NLSQ, direction)
    values, derivatives = jax.jit(jax.vmap(lambda v: (function(v), jax.jacrev(function)(v))))(v)
    inside = np.abs(v[:, 1]) < MAX_RAW_LOG_SCALE
    by_log_b = 0.4 * np.where(inside, 1.0, 0.5)
    np.testing.assert_allclose(values[:, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(values[:, 1], sign * np.log(b), rtol=1e-6)
    from_a = 1 if sign > 0 else -1 / b
    from_b = by_log_b * (b * y if sign > 0 else -expected)
    first = np.stack([from_a + 0 * b, from_b, slope], axis=-1)
    np.testing.assert_allclose(derivatives[:, 0][:, [0, 1, 5]], first, rtol=1e-5)
    np.testing.assert_allclose(derivatives[:, 1, 1], sign * by_log_b, rtol=1e-6)
    np.testing.assert_allclose(np.delete(derivatives[:, 1], 1, axis=1), 0, atol=1e-20)


def test_nlsq_log_det_where_the_argument_overflows():
    raw, y = jnp.array([0.0, 0.0, 1.0, 70.0, 0.0]), jnp.float32(1e27)
    assert NLSQ.inverse_and_log_det(raw, y)[1] == 0.0


def test_derivative_of_a_bump_is_there_where_autodiff_would_lose_it():
    """``-2 k u / (1 + u^2)^2`` at u with a fourth power that is not float32."""
    u = np.float32([-1e4, 1e10, 3e11, 1e19])
    slope = jax.vmap(jax.grad(bump, argnums=1))(np.full_like(u, 1.5), u)
    wide = np.float64(u)
    np.testing.assert_allclose(slope, -3 * wide / (1 + wide**2) ** 2, rtol=1e-5, atol=1e-37)


# Elementwise, and compiled


@each_transform
@each_direction
@pytest.mark.parametrize("garbage", [np.nan, np.inf])
def test_garbage_stays_in_its_element(transform, direction, garbage):
    function = getattr(transform, direction)
    raw, x = draw(transform, 6)
    dirty_raw, dirty_x = raw.copy(), x.copy()
    dirty_raw[1], dirty_x[1] = garbage, garbage
    clean = np.array([0, 2, 3, 4, 5])

    @jax.jit
    def values_and_gradients(raw, x):
        values, pullback = jax.vjp(function, raw, x)
        return values, pullback((jnp.ones_like(x), jnp.ones_like(x)))

    compared = (values_and_gradients(raw, x), values_and_gradients(dirty_raw, dirty_x))
    for left, right in zip(*map(jax.tree.leaves, compared), strict=True):
        np.testing.assert_array_equal(left[clean], right[clean])


@each_transform
@each_direction
def test_eager_jit_and_vmap_agree(transform, direction):
    raw, x = draw(transform, 12)
    expected = getattr(transform, direction)(raw, x)
    lifted = jax.vmap(compiled(transform, direction))
    for result in (compiled(transform, direction)(raw, x), lifted(raw, x)):
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
@each_direction
def test_lowers_for_accelerators_without_float64(platform, direction):
    function = jax.vmap(jax.jacfwd(jax.jacrev(on_vector(NLSQ, direction))))
    shape = jax.ShapeDtypeStruct((8, 6), jnp.float32)
    module = jax.export.export(jax.jit(function), platforms=[platform])(shape).mlir_module()
    assert not [w for w in ("f64", "custom_call", "while", "callback") if w in module]
