import json
import logging

import pytest

from nlf_jax.cli import drawing
from nlf_jax.cli.experiments import MIDI, TEXT
from nlf_jax.cli.flags import parse
from nlf_jax.cli.run import Run
from nlf_jax.data.text.vocabulary import Vocabulary

OLD = {"experiment": "text", "config": {}, "data": {}, "format": 2}


def run_of(experiment, *argv):
    return Run(experiment, parse(argv, experiment.flags))


def test_a_run_from_before_a_switch_means_what_it_did():
    values = run_of(TEXT).remembering(OLD).line.values
    assert (values["strip"], values["unique"], values["windows"]) == (True, False, False)
    assert not run_of(TEXT).line.values["strip"]


@pytest.mark.parametrize("flag", ["--strip", "--nostrip"])
def test_switches_are_recorded_whether_given_or_not_and_remembered(flag):
    source = run_of(TEXT, flag, "--windows", "--text_file=/a.txt").source
    on = {"--strip": "true", "--nostrip": "false"}[flag]
    assert source == {"text_file": "/a.txt", "strip": on, "windows": "true", "unique": "false"}
    again = run_of(TEXT).remembering(OLD | {"source": source})
    assert again.source == source
    other = run_of(TEXT, "--nowindows", "--text_file=/b.txt").remembering(OLD | {"source": source})
    assert other.source == source | {"text_file": "/b.txt", "windows": "false"}


def test_a_frame_that_is_given_is_not_mixed_with_the_remembered_one():
    trained = OLD | {"data": {"frame_seconds": 0.1}, "source": {"midi_dir": "/m"}}
    assert run_of(MIDI).remembering(trained).frame == {"frame_seconds": 0.1}
    given = run_of(MIDI, "--frames_per_quarter=2").remembering(trained)
    assert given.frame == {"frames_per_quarter": 2}
    assert given.source == {"midi_dir": "/m", "frames_per_quarter": "2"}


def test_a_hostile_source_sets_nothing_but_the_data(tmp_path):
    source = {"workdir": "/elsewhere", "mode": "sample", "text_file": "/a.txt", "strip": "?"}
    run = run_of(TEXT, f"--workdir={tmp_path}").remembering(OLD | {"source": source})
    assert run.workdir == tmp_path
    assert run.line.values["mode"] == "train"
    assert run.source == {"text_file": "/a.txt"} | dict.fromkeys(run.switches, "false")


def test_only_a_run_of_the_experiment_with_a_checkpoint_is_found(tmp_path):
    run = run_of(TEXT, f"--workdir={tmp_path}")
    assert run.find() is None
    (tmp_path / "config.json").write_text(json.dumps(OLD))
    assert run.find() is None
    (tmp_path / "checkpoints" / "7").mkdir(parents=True)
    assert run.find() == OLD
    assert run_of(MIDI, f"--workdir={tmp_path}").find() is None


def test_replaced_symbols_are_counted(caplog):
    vocabulary = Vocabulary.from_lines(["abc"])
    with caplog.at_level(logging.WARNING):
        assert drawing._encode(vocabulary, "aXbY", "c").tolist() == [2, 4, 3, 4]
    assert caplog.messages == ["--text has 2 symbols unseen in training, now 'c'."]
