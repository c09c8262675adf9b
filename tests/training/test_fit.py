import jax
import numpy as np
import pytest

import nlf_jax
from nlf_jax.errors import UserError

LINES = ["abcab", "bca", "cabbage", "deed"] * 6
FAST = {"size": "tiny", "progress": False, "batch_size": 8}


@pytest.fixture(scope="module")
def text_fit(tmp_path_factory):
    directory = tmp_path_factory.mktemp("fit")
    fitted = nlf_jax.fit(LINES, model="lstm", num_epochs=2, workdir=directory, **FAST)
    return directory, fitted


def test_strings_to_samples(text_fit, capsys):
    _, (model, history) = text_fit
    valid = [row["bpc"] for row in history if row["split"] == "valid"]
    assert len(valid) == 2
    texts = model.vocabulary.decode(*nlf_jax.sample(model, jax.random.key(0), num_samples=3))
    assert len(texts) == 3
    assert capsys.readouterr().out == ""


def test_a_workdir_goes_on_as_if_it_had_not_stopped(text_fit):
    directory, _ = text_fit
    longer = nlf_jax.fit(LINES, model="lstm", num_epochs=3, workdir=directory, **FAST)
    whole = nlf_jax.fit(LINES, model="lstm", num_epochs=3, **FAST)
    assert [row["step"] for row in longer.history] == [row["step"] for row in whole.history]
    assert [row.get("bpc") for row in longer.history] == [row.get("bpc") for row in whole.history]
    for a, b in zip(jax.tree.leaves(longer.model), jax.tree.leaves(whole.model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_nothing_is_left_on_disk_without_a_workdir(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(tmp_path)
    ids = [np.array([0, 1, 2, 1]), np.array([2, 2]), np.array([1, 0, 1])] * 3
    model, _ = nlf_jax.fit(ids, model="lstm", num_epochs=1, **FAST)
    assert model.vocabulary is None
    assert nlf_jax.sample(model, jax.random.key(0)).symbols.max() < 3
    assert not list(tmp_path.iterdir())


def test_piano_rolls(tmp_path):
    rolls = [np.random.default_rng(n).random((4 + n % 3, 88)) < 0.1 for n in range(9)]
    fitted = nlf_jax.fit(
        rolls, model="lstm", validation=rolls[:2], num_epochs=1, key=jax.random.key(3), **FAST
    )
    assert "nats_per_frame" in fitted.history[-1]
    assert nlf_jax.sample(fitted.model, jax.random.key(0)).symbols.shape[-1] == 89


@pytest.mark.parametrize(
    ("sequences", "options", "message"),
    [
        ("one string", {}, "must be a list"),
        ([], {}, "must be a list"),
        (["a"], {}, "at least two"),
        (["ab", ""], {}, "sequence 1 is not a string of at least one character"),
        (["ab", 3], {}, "sequence 1 is not a string"),
        (["ab", "c\x1bd"], {}, "sequence 1 has the control character .* at position 1"),
        ([[0, 1], [0.5, 1.0]], {}, "float64"),
        ([[0, -1], [0, 1]], {}, "ids from -1"),
        ([[0, 1], []], {}, "sequence 1 has shape .* type float64"),
        ([[[60, 64], [62]], [[60]]], {}, "sequence 0 is ragged"),
        ({"a": 1, "b": 2}, {}, "not a dict"),
        ((x for x in ("ab", "cd")), {}, "not a generator"),
        ([[0, 1], np.zeros((3, 88))], {}, "one kind"),
        (["ab", "cd"], {"seed": 3}, "give key"),
        (["ab", "cd"], {"key": -1}, "key is -1"),
        (["ab", "cd"], {"key": None}, "key is None"),
        (["ab", "cd"], {"key": jax.random.split(jax.random.key(0))}, r"key has shape \(2,\)"),
        (["ab", "cd"], {"key": np.ones(2)}, "the key is a ndarray"),
        (["ab", "cd"], {"model": None}, "model is None"),
        ([np.ones((3, 88))] * 2, {"frames_per_quarter": 0}, "frames_per_quarter is 0: .*1 to 64"),
        (["ab", "cd"], {"validation": None}, "validation must be a list"),
        (["ab", "cd"], {"max_length": "9"}, "max_length is '9'"),
        ([np.zeros((3, 5)), np.zeros((3, 5))], {}, "expected"),
        (["ab", "cd"], {"hiden": 4}, "no option hiden"),
        (["ab", "cd"], {"hidden": -4}, "hidden must be at least 1"),
        (["ab", "cd"], {"max_length": 1}, "longest sequence has 2 steps"),
        (["ab", "cd"], {"model": "lsm"}, "did you mean lstm"),
        (["ab", "cd"], {"validation": 1.5}, "between 0 and 1"),
    ],
)
def test_what_cannot_be_fitted_is_told(sequences, options, message):
    with pytest.raises(UserError, match=message):
        nlf_jax.fit(sequences, **{"size": "tiny"} | options)
