import base64
import io
import re
import sys
import wave

import numpy as np
import pytest

from nlf_jax import media
from nlf_jax.errors import UserError
from nlf_jax.media.audio import SAMPLE_RATE

pytest.importorskip("mido")
pytest.importorskip("matplotlib")


def roll_of(length, *notes):
    roll = np.zeros((length, 88), np.bool_)
    for pitch, start, end in notes:
        roll[start:end, pitch - 21] = True
    return roll


def loudest_frequency(audio):
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio))))
    return spectrum.argmax() * SAMPLE_RATE / len(audio)


@pytest.mark.parametrize("pitch", [21, 45, 69, 108])
def test_note_sounds_at_its_pitch_while_it_is_held(pitch):
    # One frame is half a second: silence, two frames of sound, silence.
    audio = media.roll_to_audio(
        roll_of(4, (pitch, 1, 3)), frames_per_quarter=1, beats_per_minute=120
    )
    half = SAMPLE_RATE // 2
    assert 4 * half < len(audio) < 4.5 * half
    assert not audio[:half].any()
    assert not audio[3 * half + half // 2 :].any()
    frequency = loudest_frequency(audio[half : 3 * half])
    assert frequency == pytest.approx(440 * 2 ** ((pitch - 69) / 12), rel=0.03)


def test_audio_neither_clips_nor_clicks():
    chord = roll_of(2, *[(pitch, 0, 2) for pitch in range(40, 90, 7)])
    audio = media.roll_to_audio(chord)
    assert audio.dtype == np.float32
    assert np.abs(audio).max() == pytest.approx(0.9, abs=1e-4)
    assert audio[0] == 0
    assert abs(audio[-1]) < 1e-3


@pytest.mark.parametrize("roll", [roll_of(0), roll_of(3)])
def test_silence_stays_silent(roll):
    assert not media.roll_to_audio(roll).any()


def test_chord_is_the_sum_of_its_notes():
    notes = [(60, 0, 2), (67, 1, 3)]
    chord = media.roll_to_audio(roll_of(4, *notes))
    parts = np.stack([media.roll_to_audio(roll_of(4, note)) for note in notes])
    weights, residual, *_ = np.linalg.lstsq(parts.T, chord, rcond=None)
    assert (weights > 0.1).all()
    assert residual.item() < 1e-6 * (chord**2).sum()


def test_saved_files_hold_the_roll(tmp_path):
    roll = roll_of(16, (60, 0, 4), (64, 4, 16))
    paths = media.save_sample(
        tmp_path / "new", roll, name="a", frames_per_quarter=4, beats_per_minute=120
    )
    assert [path.name for path in paths] == ["a.mid", "a.wav", "a.png"]
    again = media.midi_to_roll(media.read_midi_file(paths[0]), frames_per_quarter=4)
    np.testing.assert_array_equal(again, roll)
    with wave.open(str(paths[1])) as sound:
        assert (sound.getnchannels(), sound.getsampwidth()) == (1, 2)
        assert 2 <= sound.getnframes() / sound.getframerate() < 2.5
        samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
    np.testing.assert_allclose(
        samples / 32767,
        media.roll_to_audio(roll, frames_per_quarter=4, beats_per_minute=120),
        atol=1 / 32767,
    )
    assert paths[2].read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_picture_shows_every_note_where_it_is():
    figure = media.plot_roll(roll_of(8, (60, 0, 2), (60, 4, 8), (72, 2, 4)), title="A title")
    (axes,) = figure.axes
    boxes = [path.get_extents() for bars in axes.collections for path in bars.get_paths()]
    drawn = {(box.x0, box.x1, round((box.y0 + box.y1) / 2, 3)) for box in boxes}
    assert drawn == {(0, 1, 60), (2, 4, 60), (1, 2, 72)}
    assert axes.get_xlim() == (0, 4)
    assert axes.get_title() == "A title"


@pytest.mark.parametrize("roll", [roll_of(0), roll_of(4), roll_of(4, (21, 0, 4), (108, 0, 1))])
def test_every_roll_can_be_drawn(roll):
    media.plot_roll(roll).savefig(io.BytesIO())


def test_notebook_gets_a_picture_and_a_player():
    roll = roll_of(4, (60, 0, 4))
    html = media.show(roll)._repr_html_()
    urls = dict(re.findall(r'src="data:(\w+/\w+);base64,([^"]+)"', html))
    assert base64.b64decode(urls["audio/wav"]) == media.roll_to_wav(roll)
    assert base64.b64decode(urls["image/png"]).startswith(b"\x89PNG")


@pytest.mark.parametrize("function", [media.roll_to_audio, media.plot_roll, media.show])
def test_wrong_rolls_are_refused(function):
    with pytest.raises(UserError, match=r"shape \[2, 89\]; expected \[T, 88\]"):
        function(np.zeros((2, 89), bool))


def test_wrong_timing_is_refused():
    with pytest.raises(UserError, match="beats_per_minute"):
        media.roll_to_audio(roll_of(2), beats_per_minute=0)


def test_what_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot write"):
        media.save_sample(tmp_path / "file", roll_of(2))
    with pytest.raises(UserError, match="Cannot write"):
        media.roll_to_wav(roll_of(2), tmp_path / "file" / "a.wav")


def test_a_missing_package_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "mido", None)
    with pytest.raises(UserError, match=r'pip install "nlf_jax\[music\]"'):
        media.roll_to_midi(roll_of(2))
