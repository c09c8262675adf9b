"""Arbitrary and damaged inputs through every reader; `make fuzz` goes much further."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.robustness.bombs import measure
from tests.robustness.fuzz_targets import TARGETS

pytest.importorskip("mido")
SETTINGS = settings(deadline=None, derandomize=True, max_examples=100, database=None)
# Those that take milliseconds to make.
QUICK_BOMBS = [
    "mat: gigantic array", "mat: gigantic cell array", "midi: billions of ticks",
    "midi: 99,900 frames", "midi: a number without end", "midi: a long text", "midi: tracks",
    "midi: tracks in each other", "midi: chunks", "midi: keys let go again and again",
    "config: nested lists", "config: a long number", "vocabulary: nested lists",
    "flags: a long name", "flags: a long number", "flags: many buckets",
]  # fmt: skip

each_target = pytest.mark.parametrize("name", TARGETS)


def edits(words):
    """Changes of bytes: where, in thousandths of the length, how many go, and what comes."""
    inserted = st.binary(max_size=8) | st.sampled_from([w.encode() for w in words if w.isascii()])
    return st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 9), inserted), max_size=4)


def edited(content, changes):
    for where, gone, inserted in changes:
        start = where * len(content) // 1000
        content = content[:start] + inserted + content[start + gone :]
    return content


@each_target
def test_valid_inputs_are_accepted(name, tmp_path):
    assert all(TARGETS[name].accepts(seed, tmp_path) for seed in TARGETS[name].seeds())


@each_target
@SETTINGS
@given(content=st.binary(max_size=300))
def test_arbitrary_bytes_are_read_or_refused(name, content, tmp_path_factory):
    TARGETS[name].accepts(content, tmp_path_factory.getbasetemp())


@each_target
@SETTINGS
@given(data=st.data())
def test_damaged_inputs_are_read_or_refused(name, data, tmp_path_factory):
    target = TARGETS[name]
    seed = data.draw(st.sampled_from(target.seeds()))
    content = edited(seed, data.draw(edits(target.words or ("\0",))))
    target.accepts(content, tmp_path_factory.getbasetemp())


def json_values(names):
    """Any JSON, with objects of these names more often than of others."""
    leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    keys = st.sampled_from(names) | st.text(max_size=3)
    nested = lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4)  # noqa: E731
    return st.recursive(leaf, nested, max_leaves=8)


@SETTINGS
@given(data=st.data())
def test_configs_of_wrong_values_are_read_or_refused(data, tmp_path_factory):
    target = TARGETS["config"]
    description = json.loads(target.seeds()[0])
    names = [*description["config"], *description]
    changes = data.draw(st.dictionaries(st.sampled_from(names), json_values(names), max_size=2))
    description |= {name: changes[name] for name in changes.keys() & description.keys()}
    if isinstance(description["config"], dict):
        description["config"] |= {n: v for n, v in changes.items() if n not in description}
    target.accepts(json.dumps(description).encode(), tmp_path_factory.getbasetemp())


@SETTINGS
@given(value=json_values(["symbols"]))
def test_vocabularies_of_any_json_are_read_or_refused(value, tmp_path_factory):
    for content in (json.dumps(value), json.dumps({"symbols": value})):
        TARGETS["vocabulary"].accepts(content.encode(), tmp_path_factory.getbasetemp())


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measured by Linux only")
@pytest.mark.parametrize("name", QUICK_BOMBS)
def test_bombs_are_soon_over(name, tmp_path):
    measure(name, tmp_path)


def test_deepest_json_that_can_be_read_can_be_refused(tmp_path):
    """Between the depths at which it is accepted and at which the parser gives up."""
    for depth in range(900, 1000, 3):
        nested = "[" * depth + "]" * depth
        description = TARGETS["config"].seeds()[0].decode().replace('"adam"', nested)
        assert not TARGETS["config"].accepts(description.encode(), tmp_path)
