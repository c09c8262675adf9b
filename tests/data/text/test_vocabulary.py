import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nlf_jax.data.text.vocabulary import PADDING_ID, UNKNOWN_ID, Vocabulary
from nlf_jax.errors import UserError

PLAIN = st.characters(exclude_categories=("Cc", "Cs"), include_characters="\t\n\f")
ANY_TEXT = st.text(PLAIN, min_size=1)


def test_ids_are_unknown_padding_then_sorted_symbols():
    vocabulary = Vocabulary.from_lines(["ba", "cé"])
    assert vocabulary.symbols == ("a", "b", "c", "é")
    assert len(vocabulary) == 6
    ids = vocabulary.encode("éab")
    assert ids.dtype == np.int32
    assert ids.tolist() == [5, 2, 3]


@given(ANY_TEXT)
@example("\t\n\f")
def test_decode_inverts_encode_for_any_text(text):
    vocabulary = Vocabulary.from_lines([text])
    ids = np.pad(vocabulary.encode(text), (0, 3), constant_values=PADDING_ID)
    assert vocabulary.decode(ids[None], np.array([len(text)])) == [text]


@given(ANY_TEXT)
def test_json_round_trip_is_equal_and_hashes_equal(text):
    vocabulary = Vocabulary.from_lines([text])
    again = Vocabulary.from_json(vocabulary.to_json())
    assert again == vocabulary
    assert hash(again) == hash(vocabulary)


def test_encode_names_the_stranger_and_its_position():
    with pytest.raises(UserError, match="'Z' at position 2"):
        Vocabulary.from_lines(["abc"]).encode("abZd")


@pytest.mark.parametrize("stranger", ["A", "z", "\0", "😀", "\ud800"])
def test_encode_known_maps_strangers_to_unknown(stranger):
    ids = Vocabulary.from_lines(["abc"]).encode_known(f"a{stranger}c")
    assert ids.tolist() == [2, UNKNOWN_ID, 4]


def test_decode_keeps_the_length_where_a_special_id_was_drawn():
    texts = Vocabulary.from_lines(["ab"]).decode(np.array([[2, 0, 1, 3], [3, 1, 1, 1]]), [4, 0])
    assert texts == ["a\ufffd\ufffdb", ""]


@pytest.mark.parametrize(
    ("ids", "lengths", "message"),
    [
        ([[-1, 2]], [2], "an id is not one of 0 to 3"),
        ([[2, 4]], [2], "an id is not one of 0 to 3"),
        ([[2, 3]], [-1], "a length is not one of 0 to 2"),
        ([[2, 3]], [3], "a length is not one of 0 to 2"),
        ([2, 3], [2], "a batch of texts"),
        ([[2, 3]], [2, 2], "a batch of texts"),
        ([[2.5]], [1], "a batch of texts"),
        ([[2], [2, 3]], [1, 2], "a batch of texts"),
        (None, None, "a batch of texts"),
    ],
)
def test_what_cannot_be_decoded_is_told(ids, lengths, message):
    """An id of -1 was read as the last symbol."""
    with pytest.raises(UserError, match=message):
        Vocabulary.from_lines(["ab"]).decode(ids, lengths)


def test_only_text_is_encoded():
    with pytest.raises(UserError, match="the text is a list: give a string"):
        Vocabulary.from_lines(["ab"]).encode(["a"])  # ty: ignore[invalid-argument-type]


def test_empty_text():
    assert Vocabulary.from_lines(["ab"]).encode("").shape == (0,)


def test_unseen_symbols_are_replaced_if_asked():
    vocabulary = Vocabulary.from_lines(["abc"])
    assert vocabulary.encode("aZc\ud800", unseen="b").tolist() == [2, 3, 4, 3]
    with pytest.raises(UserError, match="--unseen"):
        vocabulary.encode("aZ")
    for stranger in ("Z", "", "ab", "\0"):
        with pytest.raises(UserError, match=r"--unseen is .* choose one of the 3 symbols"):
            vocabulary.encode("aZ", unseen=stranger)


@pytest.mark.parametrize("symbol", ["\0", "\x1b", "\r", "\x7f", "\x9b", "\ud800"])
def test_controls_and_surrogates_are_refused_and_shown_in_ascii(symbol):
    document = json.dumps({"symbols": sorted(["a", symbol])})
    with pytest.raises(UserError) as caught:
        Vocabulary.from_json(document)
    assert ascii(symbol)[1:-1] in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("symbols", [(), ("ab",), ("",), ("b", "a"), ("a", "a")])
def test_bad_symbols_are_refused(symbols):
    with pytest.raises(UserError):
        Vocabulary(symbols)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '{"symbols": 3}', '{"symbols": [1]}'])
def test_damaged_json_is_refused(text):
    with pytest.raises(UserError):
        Vocabulary.from_json(text)
