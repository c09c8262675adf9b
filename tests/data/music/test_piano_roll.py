import numpy as np

from nlf_jax.data.music.piano_roll import decode_rolls, held_notes


def test_held_notes_are_the_runs_of_each_key():
    roll = np.zeros((4, 88), np.bool_)
    roll[:, 0] = True
    roll[[0, 2], 87] = True
    assert held_notes(roll).tolist() == [[0, 0, 4], [87, 0, 1], [87, 2, 3]]
    assert held_notes(np.zeros((0, 88), np.bool_)).shape == (0, 3)


def test_decoding_removes_padding_and_the_dummy_column():
    symbols = np.zeros((2, 3, 89), np.bool_)
    symbols[..., 0] = True
    symbols[0, 1, 1] = symbols[1, :, 88] = True
    first, second = decode_rolls(symbols, np.array([2, 1]))
    np.testing.assert_array_equal(np.argwhere(first), [[1, 0]])
    np.testing.assert_array_equal(np.argwhere(second), [[0, 87]])
    assert (first.shape, second.shape) == ((2, 88), (1, 88))
