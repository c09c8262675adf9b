"""Every public function of a model, as users call it: arguments of every form, settings of JAX.

Programs are traced, not compiled, wherever a fault shows in the tracing.
"""

import contextlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from jax.sharding import Mesh, PartitionSpec

import nlf_jax
from tests.models.tiny import NUM_SYMBOLS, make_batch, make_model

pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(11)
LENGTHS = np.int32([4, 2])


def text():
    return make_model("af_scf"), make_batch()[0][::2]


def music():
    model = make_model("af_codebook", "bernoulli", recurrence="gated")
    return model, make_batch("bernoulli")[0][::2].astype(bool)


def language():
    return make_model("lstm"), make_batch()[0][::2]


each_kind = pytest.mark.parametrize("kind", [text, music, language])


def elbo(model, x, lengths, key, **options):
    return nlf_jax.elbo(model, x, lengths, key, **options).elbo


def sample(model, x, lengths, key, **options):
    return nlf_jax.sample(model, key, **{"num_samples": 2} | options)


def continue_from(model, x, lengths, key, **options):
    options = {"num_samples": 2, "num_proposals": 2} | options
    return nlf_jax.continue_from(model, x[0][:2], key, **options)


def interpolate(model, x, lengths, key, **options):
    return nlf_jax.interpolate(model, x[0], x[1], key, **{"num_points": 2} | options)


SCORES = [elbo, nlf_jax.importance_weighted_nll]
FUNCTIONS = [*SCORES, sample, continue_from, nlf_jax.reconstruct, interpolate]


def functions_of(kind):
    """A language model has no latent."""
    return FUNCTIONS[:4] if kind is language else FUNCTIONS


def plain(function, x, key):
    return function(x, LENGTHS, key)


def in_vmap(function, x, key):
    return jax.vmap(function)(x[None], LENGTHS[None], key[None])


def in_checkpoint(function, x, key):
    return jax.checkpoint(function)(x, LENGTHS, key)


def in_pmap(function, x, key):
    return jax.pmap(function)(x[None], LENGTHS[None], key[None])


def in_shard_map(function, x, key):
    mesh, rows = Mesh(np.array(jax.devices()[:1]), ("rows",)), PartitionSpec("rows")
    whole = lambda x, lengths, keys: function(x, lengths, keys[0])  # noqa: E731
    mapped = jax.shard_map(whole, mesh=mesh, in_specs=(rows,) * 3, out_specs=rows, check_vma=True)
    return mapped(x, LENGTHS, key[None])


@contextlib.contextmanager
def config(**values):
    before = {name: getattr(jax.config, name) for name in values}
    for name, value in values.items():
        jax.config.update(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


SETTINGS = {
    "jit": (plain, {}),
    "vmap": (in_vmap, {}),
    "checkpoint": (in_checkpoint, {}),
    "pmap": (in_pmap, {}),
    "shard_map": (in_shard_map, {}),
    "x64": (plain, {"jax_enable_x64": True}),
    "rbg keys": (plain, {"jax_default_prng_impl": "rbg"}),
    "rank promotion": (plain, {"jax_numpy_rank_promotion": "raise"}),
    "dtype promotion": (plain, {"jax_numpy_dtype_promotion": "strict"}),
    "key reuse": (plain, {"jax_debug_key_reuse": True}),
}


@each_kind
@pytest.mark.parametrize("setting", SETTINGS)
def test_settings(kind, setting):
    model, x = kind()
    run, values = SETTINGS[setting]
    for function in functions_of(kind):
        with config(**values):
            traced = jax.jit(partial(run, partial(function, model)))
            found = jax.eval_shape(traced, x, jax.random.key(0))
        types = {leaf.dtype.name for leaf in jax.tree.leaves(found)}
        assert types <= {"float32", "int32", "bool"}, function


@each_kind
@pytest.mark.parametrize("function", SCORES)
def test_gradients(kind, function):
    model, x = kind()

    def loss(network):
        return function(model.replace(network=network), x, LENGTHS, KEY).sum()

    gradient = jax.eval_shape(jax.jit(jax.grad(loss)), model.network)
    assert jax.tree.structure(gradient) == jax.tree.structure(model.network)


@pytest.fixture
def compilations():
    """A list that grows with every program that is compiled; earlier ones are forgotten."""
    jax.clear_caches()
    names = []
    listen = lambda name, seconds, **about: names.append(name) if "compile" in name else None  # noqa: E731
    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_called_eagerly_compiles_once(function, compilations):
    (model, x), same_keys = text(), [jax.random.key(11) for _ in range(3)]
    first = function(model, x, LENGTHS, KEY)
    assert compilations
    compilations.clear()
    for key in same_keys:
        again = function(model, x.copy(), LENGTHS.copy(), key)
    assert not compilations
    jax.tree.map(np.testing.assert_array_equal, again, first)


def forms(x, lengths):
    """The same batch as users may have it."""
    yield x.tolist(), lengths.tolist()
    yield jnp.asarray(x), jnp.asarray(lengths)
    for kind in (np.uint8, np.int64, jnp.int16, ">i4"):
        yield x.astype(kind), lengths.astype(kind)


@pytest.mark.parametrize(
    ("kind", "function"),
    [(text, function) for function in FUNCTIONS if function is not sample]
    + [(music, function) for function in (elbo, nlf_jax.reconstruct)]
    + [(language, continue_from)],
)
def test_arrays_of_every_form(kind, function):
    model, x = kind()
    expected = function(model, x, LENGTHS, KEY)
    for symbols, lengths in forms(x, LENGTHS):
        found = function(model, symbols, lengths, KEY)
        jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_keys_of_every_form(function):
    model, x = language() if function in FUNCTIONS[:4] else text()
    expected = function(model, x, LENGTHS, KEY)
    legacy = jax.random.PRNGKey(11)
    for key in (legacy, np.asarray(legacy)):
        jax.tree.map(np.testing.assert_array_equal, function(model, x, LENGTHS, key), expected)
    if function is interpolate:
        return
    keys = jax.random.split(KEY, 2)
    for each in (keys, jax.random.key_data(keys)):
        jax.tree.map(np.testing.assert_array_equal, function(model, x, LENGTHS, each), expected)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("key", "message"),
    [
        (0, "a int: make one with jax.random.key"),
        (None, "a NoneType"),
        (np.zeros(2, np.int32), "a ndarray"),
        (np.zeros(3, np.uint32), r"an array of \(3,\)"),
        (jax.random.split(KEY, 3), r"key has shape \(3,\)"),
        (jax.random.split(KEY, (2, 2)), r"key has shape \(2, 2\)"),
    ],
)
def test_wrong_keys(function, key, message):
    model, x = text()
    with pytest.raises(nlf_jax.UserError, match=message):
        function(model, x, LENGTHS, key)


def changed(x, place, value, kind=None):
    x = x.astype(kind or x.dtype)
    x[place] = value
    return x


@pytest.mark.parametrize("function", [*SCORES, nlf_jax.reconstruct])
@pytest.mark.parametrize(
    ("kind", "place", "value", "message"),
    [
        (text, (0, 3), -1, r"x\[0, 3\] is -1: ids are 0 to 2"),
        (text, (1, 1), NUM_SYMBOLS, r"x\[1, 1\] is 3: ids"),
        (text, (0, 0), 2**40 + 1, r"x\[0, 0\] is 1099511627777"),
        (music, (0, 2, 1), 80, r"x\[0, 2, 1\] is 80.0: bits are 0 or 1"),
        (music, (1, 0, 0), 0.5, r"x\[1, 0, 0\] is 0.5"),
        (music, (1, 0, 0), np.nan, r"x\[1, 0, 0\] is nan"),
    ],
)
def test_wrong_symbols(function, kind, place, value, message):
    model, x = kind()
    x = changed(x, place, value, np.int64 if kind is text else np.float64)
    for wrong in (x, x.tolist()):
        with pytest.raises(nlf_jax.UserError, match=message):
            function(model, wrong, LENGTHS, KEY)


@pytest.mark.parametrize("function", [*SCORES, nlf_jax.reconstruct])
@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([4, 5], r"lengths\[1\] is 5: x has 4 steps"),
        ([-1, 2], r"lengths\[0\] is -1"),
        (jnp.array([4, 9]), r"lengths\[1\] is 9"),
        ([4.0, 2.0], "lengths are float64"),
        ([4, [2]], "lengths is no array"),
        (None, "lengths are object"),
    ],
)
def test_wrong_lengths(function, lengths, message):
    model, x = text()
    with pytest.raises(nlf_jax.UserError, match=message):
        function(model, x, lengths, KEY)


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (function, {name: value}, f"{name} is .*give a whole number")
        for function, name in [
            (elbo, "num_samples"),
            (nlf_jax.importance_weighted_nll, "num_samples"),
            (sample, "num_samples"),
            (sample, "length"),
            (continue_from, "num_samples"),
            (continue_from, "num_proposals"),
            (interpolate, "num_points"),
        ]
        for value in (0, -1, 2.0, True, "2", np.float32(2), 2**31, 2**70)
    ]
    + [
        (function, {"temperature": value}, f"temperature is .*{wanted}")
        for function in (sample, continue_from)
        for value, wanted in [
            (np.float32(-1), "above 0"),
            (np.float32(0), "above 0"),
            (np.float32("nan"), "above 0"),
            (1e-50, "lost in float32"),
            (1e-38, "1e-30 to"),
            (1e20, "to 1e\\+06"),
            (jnp.float32(-2), "above 0"),
            (float("inf"), "infinite"),
            ("warm", "a number"),
        ]
    ]
    + [
        (sample, {"temperature": np.ones(2)}, r"shape \(2,\)"),
        (sample, {"greedy": "no"}, "greedy is 'no': give True or False"),
        (elbo, {"train": np.ones(2, bool)}, "train is .*give True or False"),
        (elbo, {"kl_weight": -0.5}, "not negative"),
        (elbo, {"kl_weight": float("nan")}, "not negative"),
    ],
)
def test_wrong_numbers(function, options, message):
    model, x = text()
    with pytest.raises(nlf_jax.UserError, match=message):
        function(model, x, LENGTHS, KEY, **options)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_wrong_model(function):
    model, x = text()
    with pytest.raises(nlf_jax.UserError, match="give a SequenceModel"):
        function(model.network, x, LENGTHS, KEY)


@pytest.mark.parametrize("wrong", [[3, 999], [-1], [0.5], "ab", [[1]], None])
def test_wrong_openings(wrong):
    with pytest.raises(nlf_jax.UserError):
        nlf_jax.continue_from(language()[0], wrong, KEY, length=3)


def deleted(x):
    x = jnp.array(x)
    x.delete()
    return x


@pytest.mark.parametrize(
    ("change", "message"), [(deleted, "was deleted"), (np.ma.masked_values, "is masked in places")]
)
def test_arrays_whose_values_are_not_there(change, message):
    model, x = language()
    x = change(x, x[0, 0]) if change is np.ma.masked_values else change(x)
    for function in SCORES:
        with pytest.raises(nlf_jax.UserError, match=f"^x {message}"):
            function(model, x, LENGTHS, KEY)
    with pytest.raises(nlf_jax.UserError, match="key was deleted"):
        nlf_jax.sample(model, deleted(jax.random.PRNGKey(0)))


@pytest.mark.parametrize("temperature", [1e-30, 1e6])
def test_draws_mean_something_at_every_temperature(temperature):
    """Nothing becomes infinite: NaN would make all symbols the first."""
    model, _ = text()
    drawn = nlf_jax.sample(model, KEY, num_samples=20, length=4, temperature=temperature).symbols
    assert drawn.any()


@pytest.mark.parametrize("mesh", [2, "cpu", Mesh(np.array(jax.devices()[:1]), ("rows",))])
def test_wrong_mesh(mesh):
    with pytest.raises(nlf_jax.UserError, match=r"mesh is .*make_mesh"):
        nlf_jax.sample(language()[0], KEY, mesh=mesh)


@pytest.mark.parametrize("rows", [0, 2])
@pytest.mark.parametrize("kind", [text, music])
def test_empty_batches(kind, rows):
    """No rows, or no steps."""
    model, x = kind()
    x, lengths = (x[:0], LENGTHS[:0]) if rows == 0 else (x[:, :0], 0 * LENGTHS)
    for function in SCORES:
        np.testing.assert_array_equal(function(model, x, lengths, KEY), np.zeros(rows))
    rebuilt = nlf_jax.reconstruct(model, x, lengths, KEY)
    assert rebuilt.symbols.shape == x.shape
    assert rebuilt.lengths.shape == (rows,)


def test_whole_numbers_of_every_form():
    model, _ = language()
    expected = nlf_jax.sample(model, KEY, num_samples=2, length=3, temperature=0.5)
    forms = {"num_samples": np.int64(2), "length": jnp.array(3), "temperature": np.float64(0.5)}
    found = nlf_jax.sample(model, KEY, **forms)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_orbax_keeps_the_weights(tmp_path):
    model, _ = text()
    state = nnx.state(model.network)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "weights", state)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "weights", state)
    network = nnx.merge(nnx.graphdef(model.network), restored)
    jax.tree.map(np.testing.assert_array_equal, network, model.network)
