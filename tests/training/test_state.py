from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nlf_jax import objectives
from nlf_jax.mesh import make_mesh, replicate
from nlf_jax.models import FLOW_MODELS, SequenceModel, create_network
from nlf_jax.training.arrays import to_arrays
from nlf_jax.training.state import (
    Updates,
    create_state,
    make_optimizer,
    make_train_step,
    make_use_of_rest,
)

X = np.array([[2, 3, 4, 5], [3, 3, 1, 1], [1, 1, 1, 1]], np.int32)
LENGTHS = np.array([4, 2, 0], np.int32)


@pytest.fixture
def model(make_config):
    network = create_network(
        make_config("lstm").network, num_symbols=6, max_length=4, key=jax.random.key(0)
    )
    return SequenceModel(network=network, length_log_prob=jnp.full(5, np.log(0.2), jnp.float32))


def start(model, name="sgd", clip=0.1, **changes):
    updates = Updates(name, clip, **changes)
    state = create_state(model, updates, jax.random.key(7))
    # Copied, as donation would take the fixture's arrays away, and placed as the loop does.
    state = replicate(jax.tree.map(jnp.copy, state), make_mesh(1))
    return state, make_train_step(updates, num_samples=1)


def step(train_step, state, rate=0.5):
    return train_step(state, X, LENGTHS, np.float32(rate), np.float32(1.0))


def test_step_is_clipped_gradient_descent(model):
    state, train_step = start(model, clip=0.1)

    def loss_fn(network):
        key = jax.random.fold_in(jax.random.key(7), 0)
        arguments = (model.replace(network=network), X, LENGTHS, key)
        return objectives.training_loss(*arguments, num_samples=1, kl_weight=1.0)[0]

    loss, grads = jax.value_and_grad(loss_fn)(model.network)
    norm = optax.tree.norm(grads)
    assert norm > 0.1
    expected = jax.tree.map(lambda p, g: p - 0.5 * g * 0.1 / norm, model.network, grads)
    after, metrics = step(train_step, state)
    np.testing.assert_allclose(metrics.loss, loss, rtol=1e-6)
    np.testing.assert_allclose(metrics.grad_norm, norm, rtol=1e-5)
    for name, value in to_arrays(after.model.network).items():
        np.testing.assert_allclose(value, to_arrays(expected)[name], rtol=1e-5, atol=1e-7)


def test_metrics_leave_filler_rows_out(model):
    state, train_step = start(model)
    key = jax.random.fold_in(jax.random.key(7), 0)
    bound = objectives.elbo(model, X[:2], LENGTHS[:2], key)
    _, metrics = step(train_step, state.replace(model=_without_dropout(state.model)))
    assert metrics.tokens == 5 + 3
    np.testing.assert_allclose(metrics.nats, -bound.elbo.sum(), rtol=1e-5)


def _without_dropout(model):
    config = model.network.config
    model.network.config = type(config)(**{**config.__dict__, "dropout": 0.0})
    return model


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_non_finite_step_changes_nothing_but_the_counters(model, optimizer):
    state, train_step = start(model, optimizer)
    state, _ = step(train_step, state)
    broken = state.replace(
        model=state.model.replace(length_log_prob=jnp.full(5, jnp.nan)),
    )
    before = to_arrays((broken.model.network, broken.opt_state))
    for _ in range(2):
        broken, metrics = step(train_step, broken)
    assert bool(metrics.skipped)
    assert int(metrics.skipped_in_a_row) == int(broken.skipped) == 2
    assert int(broken.step) == 3
    after = to_arrays((broken.model.network, broken.opt_state))
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    good, metrics = step(train_step, broken.replace(model=model))
    assert not metrics.skipped
    assert (int(good.skipped_in_a_row), int(good.skipped)) == (0, 2)


def test_each_step_has_its_own_key(model):
    state, train_step = start(model)
    losses = [float(step(train_step, jax.tree.map(jnp.copy, state), rate=0.0)[1].loss)]
    losses.append(float(step(train_step, state.replace(step=state.step + 1), rate=0.0)[1].loss))
    assert losses[0] != losses[1]


def test_compiles_once_per_shape(model):
    state, _ = start(model)
    train_step = make_train_step(Updates("sgd", 0.1), num_samples=2)
    for _ in range(3):
        state, _ = step(train_step, state)
    state, _ = train_step(state, X[:, :3], np.minimum(LENGTHS, 3), np.float32(1), np.float32(1))
    assert train_step._cache_size() == 2


def test_one_device_partitions_nothing_and_sums_over_no_devices(model):
    state, train_step = start(model)
    step_program = train_step.trace(state, X, LENGTHS, np.float32(1), np.float32(1)).jaxpr
    assert "psum" not in str(step_program)
    assert "shard_map" not in str(step_program)


def test_accumulated_gradients_make_one_update(model):
    updates = Updates("sgd", 0.1, accumulate=2)
    state = create_state(model, updates, jax.random.key(7))
    optimizer = make_optimizer(updates)
    start_at = to_arrays(jax.tree.map(jnp.copy, model.network))
    gradient = jax.tree.map(lambda p: jnp.ones_like(p), model.network)
    none, opt_state = optimizer.update(jax.tree.map(jnp.zeros_like, gradient), state.opt_state)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(none))
    mean, _ = optimizer.update(gradient, opt_state)
    expected = jax.tree.map(lambda g: g * 0.1 / optax.tree.norm(gradient), gradient)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5), mean, expected)
    train_step = make_train_step(updates, num_samples=1)
    state = jax.tree.map(jnp.copy, state)
    once, _ = step(train_step, state)
    for name, value in to_arrays(once.model.network).items():
        np.testing.assert_array_equal(value, start_at[name])
    twice, _ = step(train_step, once)
    assert any((v != start_at[n]).any() for n, v in to_arrays(twice.model.network).items())


def test_gradients_left_over_make_an_update_by_their_mean(model):
    """Two of three, of which the optimiser's state has the mean; then there are none."""
    updates = Updates("sgd", 0.1, accumulate=3, average=0.5)
    state = jax.tree.map(jnp.copy, create_state(model, updates, jax.random.key(7)))
    mean = jax.tree.map(jnp.ones_like, model.network)
    waiting = state.opt_state._replace(mini_step=jnp.int32(2), acc_grads=mean)
    before, norm = to_arrays(model.network), optax.tree.norm(mean)
    use_rest = make_use_of_rest(updates)
    state = use_rest(state.replace(opt_state=waiting), np.float32(0.5))
    for _ in range(2):
        for name, value in to_arrays(state.raw).items():
            np.testing.assert_allclose(value, before[name] - 0.05 / norm, rtol=1e-5, atol=1e-7)
        for name, value in to_arrays(state.model.network).items():
            np.testing.assert_allclose(value, before[name] - 0.045 / norm, rtol=1e-5, atol=1e-7)
        assert (int(state.opt_state.mini_step), int(state.opt_state.gradient_step)) == (0, 1)
        assert not any(leaf.any() for leaf in jax.tree.leaves(state.opt_state.acc_grads))
        state = use_rest(state, np.float32(0.5))


@jax.custom_jvp
def without_derivative(x):
    return jnp.zeros_like(x)


without_derivative.defjvp(
    lambda primals, tangents: (jnp.zeros_like(*primals), jnp.nan * tangents[0])
)


def test_step_with_a_finite_loss_is_skipped_for_its_gradient(model, monkeypatch):
    loss = objectives.training_loss

    def poisoned(model, *arguments, **options):
        value, bound = loss(model, *arguments, **options)
        return value + without_derivative(model.network.out.bias[0]), bound

    monkeypatch.setattr(objectives, "training_loss", poisoned)
    state = replicate(create_state(model, Updates("sgd", 0.123), jax.random.key(7)), make_mesh(1))
    before = to_arrays(state.model.network)
    state, metrics = step(make_train_step(Updates("sgd", 0.123), num_samples=1), state)
    assert np.isfinite(metrics.loss)
    assert (bool(metrics.skipped), int(state.skipped)) == (True, 1)
    after = to_arrays(state.model.network)
    assert all(np.array_equal(before[name], after[name]) for name in before)


# The other models are made of the same parts.
@pytest.mark.parametrize("name", ["af_scf", "iaf_scf", "af_af", "af_codebook", "gated"])
def test_steps_from_weights_far_too_large_are_finite_or_skipped(name, make_config):
    # Small programs, which compile quickly.
    small = {"flow_layers": 1, "flow_hidden_layers": 1, "lstm_layers": 1}
    small |= {"posterior": "factorised"} if name in FLOW_MODELS else {}
    config = make_config(name, hidden=8, embedding=8, latent=4, **small).network
    network = create_network(config, num_symbols=6, max_length=4, key=jax.random.key(0))
    for factor in (10.0, 1e12):
        large = jax.tree.map(lambda leaf, factor=factor: factor * leaf, network)
        length_log_prob = jnp.full(5, np.log(0.2), jnp.float32)
        state, train_step = start(SequenceModel(large, length_log_prob), "adam")
        before = to_arrays(state)
        state, metrics = step(train_step, state, rate=1e-3)
        after = to_arrays(state)
        assert all(np.isfinite(value).all() for value in after.values())
        changed = {name for name in before if not np.array_equal(before[name], after[name])}
        if metrics.skipped:
            assert changed == {"step", "skipped", "skipped_in_a_row"}
        else:
            assert np.isfinite(metrics.loss)
            assert any(name.startswith("model.network") for name in changed)
    # But the codebook flow's codes are normed.
    assert bool(metrics.skipped) == (name != "af_codebook")


def test_scored_network_is_an_average_of_the_trained_one(model):
    """With the decay (1 + n) / (10 + n), 0.1, 2/11, 0.25, until that is more than 0.2."""
    state, train_step = start(model, average=0.2)
    plain, plain_step = start(model)
    average = to_arrays(jax.tree.map(jnp.copy, model.network))
    for decay in (0.1, 2 / 11, 0.2, 0.2):
        state, _ = step(train_step, state)
        plain, _ = step(plain_step, plain)
        trained = to_arrays(plain.model.network)
        average = {n: decay * value + (1 - decay) * trained[n] for n, value in average.items()}
        for name, value in to_arrays(state.raw).items():
            np.testing.assert_array_equal(value, trained[name])
        for name, value in to_arrays(state.model.network).items():
            np.testing.assert_allclose(value, average[name], rtol=1e-5, atol=1e-7)
    assert plain.raw is None


def test_skipped_steps_leave_the_average(model):
    state, train_step = start(model, average=0.9)
    state, _ = step(train_step, state)
    broken = state.replace(model=state.model.replace(length_log_prob=jnp.full(5, jnp.nan)))
    before = to_arrays((broken.model.network, broken.raw, broken.opt_state))
    broken, metrics = step(train_step, broken)
    assert bool(metrics.skipped)
    after = to_arrays((broken.model.network, broken.raw, broken.opt_state))
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_weight_decay_is_of_matrices_and_not_of_the_gradient():
    network = {"matrix": jnp.full((2, 3), 2.0), "vector": jnp.full(3, 2.0), "number": jnp.ones(())}
    zero = jax.tree.map(jnp.zeros_like, network)
    optimizer = make_optimizer(Updates(weight_decay=0.25))
    directions, _ = optimizer.update(zero, optimizer.init(network), network)
    np.testing.assert_allclose(directions["matrix"], 0.5)
    assert not directions["vector"].any()
    assert not directions["number"].any()
    # Adam divides by the size of a gradient, but not the decay.
    ones = jax.tree.map(jnp.ones_like, network)
    directions, _ = optimizer.update(ones, optimizer.init(network), network)
    np.testing.assert_allclose(directions["matrix"], 1.5, rtol=1e-5)


def test_decay_of_adams_mean_square():
    """After a gradient of 1 and one of 0: means 0.09 / 0.19 and b2 (1 - b2) / (1 - b2^2)."""
    for b2 in (0.5, 0.999):
        optimizer = make_optimizer(Updates(adam_b2=b2))
        _, state = optimizer.update(jnp.ones(1), optimizer.init(jnp.zeros(1)))
        direction, _ = optimizer.update(jnp.zeros(1), state)
        expected = 0.09 / 0.19 / np.sqrt(b2 * (1 - b2) / (1 - b2**2))
        np.testing.assert_allclose(direction, expected, rtol=1e-4)
