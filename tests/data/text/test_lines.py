import hypothesis
import pytest
from hypothesis import strategies as st

from nlf_jax.data.text.lines import break_line


@pytest.mark.parametrize(
    ("line", "pieces"),
    [
        ("short enough.", ["short enough."]),
        ("  of 20 characters:  ", ["of 20 characters:"]),
        ("He came. He saw, he won.", ["He came.", "He saw, he won."]),
        ("He came. He saw: x, y z", ["He came.", "He saw: x, y z"]),
        ("He came, he saw: he won.", ["He came, he saw:", "he won."]),
        ("He came, and then he won", ["He came,", "and then he won"]),
        ("and after that he also won", ["and after that he", "also won"]),
        ("x" * 45 + " y", ["x" * 20, "x" * 20, "xxxxx y"]),
        ("exactly 20 letters!! and", ["exactly 20 letters!!", "and"]),
    ],
)
def test_the_best_place_to_break(line, pieces):
    assert break_line(line, 20) == pieces


@hypothesis.given(st.text("ab.:, \t", max_size=200), st.integers(1, 30))
def test_nothing_but_spaces_is_lost(line, max_length):
    pieces = break_line(line, max_length)
    assert max(map(len, pieces)) <= max_length
    assert "".join("".join(pieces).split()) == "".join(line.split())
    assert all(piece == piece.strip() for piece in pieces)
    assert all(pieces) or not line.strip()
