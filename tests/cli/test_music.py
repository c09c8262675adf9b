"""Music that cannot be used: one line that says what to do, and nothing is written."""

import os

import numpy as np
import pytest
import scipy.io

from nlf_jax import media
from nlf_jax.cli.commands import main
from nlf_jax.cli.experiments import MIDI, POLYPHONIC

pytest.importorskip("mido")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("NLF_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("NLF_DATA_DIR", raising=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Folders by what is wrong with what is in them."""
    root = tmp_path_factory.mktemp("music")
    for name in ("no keys", "twos", "no music", "two pieces", "broken"):
        (root / name).mkdir()
    twos = np.empty((1, 1), object)
    twos[0, 0] = np.full((3, 88), 2)
    keys = dict.fromkeys(("traindata", "validdata", "testdata"), twos)
    scipy.io.savemat(root / "no keys" / "JSB_Chorales.mat", {"x": np.zeros(3)})
    scipy.io.savemat(root / "twos" / "JSB_Chorales.mat", keys)
    for key in (3, 4):
        roll = np.eye(4, 88, key, dtype=bool)
        media.roll_to_midi(roll).save(root / "two pieces" / f"{key}.mid")
    (root / "broken" / "a.mid").write_bytes(b"MThd")
    return root


def error_of(experiment, argv, capsys, directory):
    """The message of a command that has to refuse, and to leave no workdir."""
    flags = ["--size=tiny", f"--workdir={directory / 'run'}", *argv]
    assert main(experiment, flags) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not os.listdir(directory)
    return error


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "choose the data with --dataset=jsb_chorales|"),
        (["--dataset=jsb_choral"], "did you mean jsb_chorales?"),
        (["--data_dir={}/no keys"], "has no traindata, validdata, testdata"),
        (["--data_dir={}/twos"], "Replace it by https://"),
        (["--data_dir={}/twos/JSB_Chorales.mat"], "JSB_Chorales.mat is not a directory"),
    ],
)
def test_polyphonic(argv, message, data, capsys, tmp_path):
    argv = [argument.format(data) for argument in argv]
    if argv and not argv[0].startswith("--dataset"):
        argv.append("--dataset=jsb_chorales")
    assert message in error_of(POLYPHONIC, argv, capsys, tmp_path)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "--midi_dir=FOLDER"),
        (["--midi_dir={}/nowhere"], "give a folder with MIDI files"),
        (["--midi_dir={}/no music"], "give another folder"),
        (["--midi_dir={}/two pieces"], "has 2 pieces to use: add files"),
        (["--midi_dir={}/broken"], "Refused 1 files, for instance a.mid: "),
        (["--midi_dir={}/two pieces", "--frames_per_quarter=0"], "a whole number from 1 to 64"),
        (["--midi_dir={}/two pieces", "--frames_per_quarter=2.5"], "needs a whole number"),
        (["--midi_dir={}/two pieces", "--frame_seconds=long"], "needs a number"),
    ],
)
def test_midi(argv, message, data, capsys, tmp_path):
    argv = [argument.format(data) for argument in argv]
    assert message in error_of(MIDI, argv, capsys, tmp_path)
