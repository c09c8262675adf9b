import json
import os

import jax.numpy as jnp
import numpy as np
import pytest

from nlf_jax.errors import UserError
from nlf_jax.files import read_rows
from nlf_jax.training import metrics
from nlf_jax.training.metrics import StepInfo, Window
from nlf_jax.training.state import StepMetrics
from nlf_jax.training.units import BITS


def step(number, loss=1.0, nats=4.0, tokens=2, skipped=False):
    info = StepInfo(number, np.array([0, -1]), 0, 0.5, 0.1)
    values = (loss, nats, 1.0, 3.0, tokens, 0.7, skipped, int(skipped))
    return info, StepMetrics(*map(jnp.asarray, values))


def test_window_gives_full_windows_one_step_late():
    window = Window(2)
    given = [[s.info.step for s in window.add(*step(n))] for n in range(1, 7)]
    assert given == [[], [], [1, 2], [], [3, 4], []]
    assert [s.info.step for s in window.fetch()] == [5, 6]
    assert window.fetch() == []


def test_window_is_aligned_with_the_run_and_not_with_its_part():
    window = Window(4)
    given = [[s.info.step for s in window.add(*step(n))] for n in range(3, 8)]
    assert given == [[], [], [3, 4], [], []]


def test_summary_divides_sums_and_leaves_skipped_steps_out():
    window = Window(10)
    window.add(*step(1, loss=2.0, nats=6.0, tokens=3))
    window.add(*step(2, loss=4.0, nats=2.0, tokens=1))
    window.add(*step(3, loss=np.nan, nats=np.nan, tokens=9, skipped=True))
    row = metrics.summarise(window.fetch(), BITS)
    assert row["loss"] == 3.0
    assert row["bpc"] == pytest.approx(8 / 4 / np.log(2))
    assert row["kl"] == pytest.approx(2 / 4)
    assert (row["skipped"], row["tokens"], row["step"]) == (1, 4, 3)


def test_summary_of_skipped_steps_alone_has_no_figures():
    window = Window(10)
    window.add(*step(1, loss=np.inf, skipped=True))
    row = metrics.summarise(window.fetch(), BITS)
    assert row["loss"] is row["bpc"] is row["grad_norm"] is None


def test_writer_drops_future_rows_and_broken_ones(tmp_path, caplog):
    path = tmp_path / metrics.FILE_NAME
    rows = [{"split": "train", "step": s, "epoch": 0} for s in (2, 4, 6)]
    rows += [{"split": "valid", "step": 4, "epoch": e} for e in (0, 1)]
    lines = [json.dumps(row) for row in rows]
    lines[1:1] = ["5", "{}", '{"split": ', "[" * 10_000, '{"split": "valid", "epoch": "x"}']
    path.write_text("\n".join([*lines, '{"split": "tr']))
    writer = metrics.MetricsWriter(tmp_path, step=4, epochs=1)
    assert "5 lines of" in caplog.text
    writer.write({"split": "train", "step": 5, "epoch": 0, "loss": float("nan")})
    writer.close()
    kept = read_rows(path)
    assert [(row["split"], row["step"], row["epoch"]) for row in kept] == [
        ("train", 2, 0),
        ("train", 4, 0),
        ("valid", 4, 0),
        ("train", 5, 0),
    ]
    assert kept[-1]["loss"] is None
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_rows_are_kept_as_they_are_and_a_torn_end_is_no_damage(tmp_path, caplog):
    path = tmp_path / metrics.FILE_NAME
    lines = [f'{{"step":{s},  "epoch": 0, "loss": 1.50}}' for s in (1, 2, 3)]
    for end in ("", '{"step": 4', "\n"):
        path.write_text("\n".join(lines) + end)
        metrics.keep_rows(path, lambda row: row["step"] != 2)
        kept = lines[::2] if end != '{"step": 4' else lines[:1]
        assert path.read_text().splitlines() == kept
    assert not caplog.text


@pytest.mark.parametrize("name", [metrics.FILE_NAME, "tensorboard"])
def test_metrics_that_cannot_be_written_are_one_line(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match=rf"{name}( is no file| \(File exists\))"):
        metrics.MetricsWriter(tmp_path, 0, 0)


def test_display_prints_lines_off_a_terminal(capsys):
    display = metrics.Display(10, 0, BITS)
    window = Window(5)
    window.add(*step(5))
    display.advance()
    display.show(metrics.summarise(window.fetch(), BITS), 123.0)
    display.close()
    line = capsys.readouterr().out
    assert line.startswith("step 5/10  epoch 0  left 0:00  loss 1.000  bpc 2.885  kl 0.500")
    assert line.endswith("tokens/s 123\n")


def test_metrics_whose_checkpoints_are_gone_are_set_aside(tmp_path, caplog):
    row = {"split": "valid", "step": 9, "epoch": 0, "bpc": 2.0}
    for number in range(2):
        writer = metrics.MetricsWriter(tmp_path, step=0, epochs=0)
        writer.write(row | {"step": number})
        writer.close()
    writer = metrics.MetricsWriter(tmp_path, step=0, epochs=0)
    writer.write(row | {"split": "train"})
    writer.close()
    metrics.MetricsWriter(tmp_path, step=0, epochs=0).close()  # it had no validation
    names = "metrics", "metrics_before", "metrics_before_1"
    kept = [[r["step"] for r in read_rows(tmp_path / f"{name}.jsonl")] for name in names]
    assert kept == [[], [0], [1]]
    assert "There were metrics without checkpoints" in caplog.text
