"""A model as one file, whole and damaged."""

import json
import struct
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open

import nlf_jax
from nlf_jax.data.lengths import length_log_prob
from nlf_jax.errors import UserError
from nlf_jax.models import SequenceModel, create_network
from nlf_jax.training import workdir
from nlf_jax.training.arrays import digest, to_arrays
from nlf_jax.training.loading import load_described, read_description
from nlf_jax.training.model_file import MAX_HEADER_BYTES, Loaded, write_model_file


@pytest.fixture(scope="module")
def loaded(corpus, make_config):
    config = make_config("lstm", embedding=3, hidden=3)
    source = {"text_file": "/secret/place", "strip": "true"}
    description = workdir.describe("letters", config, corpus, source=source)
    description = json.loads(json.dumps(description | {"format": workdir.FORMAT}))
    network = create_network(config.network, num_symbols=6, max_length=9, key=jax.random.key(3))
    prior = jnp.asarray(length_log_prob(np.array([1, 4, 4]), 9, smoothing=False))
    return Loaded(description, SequenceModel(network, prior, corpus.vocabulary), 12)


@pytest.fixture(scope="module")
def content(loaded, tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "model.safetensors"
    write_model_file(path, loaded, "0.1.0")
    return path.read_bytes()


@pytest.fixture
def path(content, tmp_path):
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    return file


def split(content):
    """The header as an object, and the bytes of the arrays."""
    (size,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def join(header, arrays):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + arrays


def test_what_is_read_is_what_was_written(path, loaded):
    found = load_described(path)
    assert digest(to_arrays(found.model)) == digest(to_arrays(loaded.model))
    assert np.isneginf(found.model.length_log_prob[2])
    assert found.model.vocabulary == loaded.model.vocabulary
    assert found.steps == 12
    assert found.description == loaded.description | {"source": {"strip": "true"}}
    assert digest(to_arrays(nlf_jax.load(str(path)))) == digest(to_arrays(loaded.model))
    assert read_description(path)["experiment"] == "letters"


def test_a_file_cannot_name_the_data_that_are_read(path, content):
    header, arrays = split(content)
    header["__metadata__"]["source"] = json.dumps({"text_file": "/etc/passwd", "unique": "true"})
    path.write_bytes(join(header, arrays))
    assert read_description(path)["source"] == {"unique": "true"}


def test_any_reader_of_the_format_takes_it(path, loaded):
    with safe_open(path, "numpy") as file:
        assert set(file.keys()) == set(to_arrays(loaded.model))
        assert file.metadata()["version"] == "0.1.0"
        assert "secret" not in str(file.metadata())


def metadata(**changes):
    def change(header, arrays):
        known = header["__metadata__"]
        for name, value in changes.items():
            known.pop(name) if value is None else known.update({name: value})
        return join(header, arrays)

    return change


def part(name, **changes):
    def change(header, arrays):
        old = json.loads(header["__metadata__"][name])
        header["__metadata__"][name] = json.dumps(old | changes)
        return join(header, arrays)

    return change


config, data = partial(part, "config"), partial(part, "data")


def array(name, **changes):
    def change(header, arrays):
        header[name] |= changes
        return join(header, arrays)

    return change


def number(name, value):
    def change(header, arrays):
        start = header[name]["data_offsets"][0]
        return join(header, arrays[:start] + struct.pack("<f", value) + arrays[start + 4 :])

    return change


def without_metadata(header, arrays):
    del header["__metadata__"]
    return join(header, arrays)


def overlapping(header, arrays):
    header["network.embedding.value"]["data_offsets"] = [0, 68]
    return join(header, arrays)


def renamed(header, arrays):
    header["network.other"] = header.pop("network.embedding.value")
    return join(header, arrays)


DAMAGE = [
    (lambda header, arrays: b"", "it has no header"),
    (lambda header, arrays: b"\x01\x02", "it has no header"),
    (lambda header, arrays: join(header, arrays)[:100], "header would have"),
    (lambda header, arrays: join(header, arrays[:-1]), "bytes, not"),
    (lambda header, arrays: join(header, arrays + b"\0"), "bytes, not"),
    (lambda header, arrays: struct.pack("<Q", 2**63) + b"{}", "header would have"),
    (lambda header, arrays: join([], arrays), "its header is no JSON object"),
    (lambda header, arrays: struct.pack("<Q", 3) + b"{]}", "no model of nlf_jax, or damaged"),
    (lambda header, arrays: struct.pack("<Q", 60) + b"[" * 60, "no model of nlf_jax"),
    (lambda header, arrays: struct.pack("<Q", 2) + b"\xff\xfe", "no model of nlf_jax"),
    (without_metadata, "it doesn't say its config, data"),
    (metadata(version=None), "it doesn't say its version"),
    (metadata(steps="-1"), "a number in its metadata is none"),
    (metadata(steps="9" * 5000), "a number in its metadata is none"),
    (metadata(format="99"), "has format 99, this version of nlf_jax reads up to"),
    (metadata(format="x"), "a number in its metadata is none"),
    (metadata(config="{"), "no model of nlf_jax, or damaged"),
    (metadata(config="[]"), "is damaged: get or export it again"),
    (metadata(config="[" * 10**5), "nested too deeply"),
    (metadata(data="{}"), "does not describe a model"),
    (metadata(vocabulary=None), "the vocabulary in .* is missing or of another model"),
    (metadata(vocabulary='{"symbols": ["a"]}'), "the vocabulary in .* of another model"),
    (metadata(vocabulary="{"), "the vocabulary in .*: The vocabulary file is damaged"),
    (metadata(vocabulary='{"symbols": ["\\u001b"]}'), r"'\\x1b'"),
    (config(hidden=5, embedding=5), "is not float32"),
    (config(hidden=10**9), "hidden must be at least 1 and less than 100,000"),
    (config(model="gated"), "other parameters than this model's, for instance network.gated"),
    (config(new_option=1), "written by another version"),
    (config(hidden=99_999, embedding=99_999), "would have .* parameters, more than"),
    (data(num_symbols=2**31 - 1), "the vocabulary in .* of another model"),
    (data(max_length=0), "does not describe a model"),
    (
        array("network.embedding.value", shape=[3, 6]),
        r"network.embedding.value is not float32\[6, 3\]",
    ),
    (
        array("network.embedding.value", shape="x"),
        r"network.embedding.value is not float32\[6, 3\]",
    ),
    (
        array("network.embedding.value", dtype="I32"),
        r"network.embedding.value is not float32\[6, 3\]",
    ),
    (overlapping, "no model of nlf_jax, or damaged"),
    (renamed, "other parameters than this model's, for instance network.embedding.value"),
    (
        number("network.embedding.value", np.nan),
        "network.embedding.value has values that are not finite",
    ),
    (
        number("network.embedding.value", np.inf),
        "network.embedding.value has values that are not finite",
    ),
    (number("length_log_prob", np.nan), "its length prior is no distribution"),
    (number("length_log_prob", np.inf), "its length prior is no distribution"),
    (number("length_log_prob", -0.5), "its length prior is no distribution"),
]


@pytest.mark.parametrize(
    ("change", "message"), DAMAGE, ids=[f"{n}-{each[1]}" for n, each in enumerate(DAMAGE)]
)
def test_damage_is_one_sentence(content, path, change, message):
    path.write_bytes(change(*split(content)))
    with pytest.raises(UserError, match=message) as error:
        nlf_jax.load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_long_header_is_not_read(path):
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", MAX_HEADER_BYTES + 1))
        file.truncate(2 * MAX_HEADER_BYTES)
    with pytest.raises(UserError, match=f"header would have {MAX_HEADER_BYTES + 1:,} bytes"):
        nlf_jax.load(path)


def test_what_is_no_file_is_said(tmp_path):
    with pytest.raises(UserError, match=r"there is no file .*none.safetensors: `nlf export"):
        nlf_jax.load(tmp_path / "none.safetensors")
    with pytest.raises(UserError, match="no trained model in"):
        nlf_jax.load(tmp_path / "none")
    with pytest.raises(UserError, match=r"cannot read aaa.*: File name too long"):
        nlf_jax.load("a" * 300)
    with pytest.raises(UserError, match="give a workdir, a file"):
        nlf_jax.load(None)  # ty: ignore[invalid-argument-type]
    with pytest.raises(UserError, match="is no model of nlf_jax"):
        nlf_jax.load(__file__)
