"""Draws the pictures of the committed runs: docs/ptb_char.png and docs/jsb_chorales.png.

python -m benchmarks.figures
"""

import json
import math
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from nlf_jax.files import read_rows

PTB, MUSIC = Path("results/ptb_char"), Path("results/polyphonic")
# Name and colour of a model, the same in all pictures.
MODELS = {
    "af_codebook": ("codebook flow", "C0"),
    "gated": ("gated language model", "0.6"),
    "lstm": ("LSTM", "C1"),
    "af_scf": ("AF/SCF", "C2"),
    "af_af": ("AF/AF", "C3"),
    "iaf_scf": ("IAF/SCF", "C4"),
}
# How far a label is raised above the end of its curve.
PTB_RUNS = {
    "gated-tuned": 4,
    "af_codebook-gated-tuned": -8,
    "lstm-tuned": 15,
    "af_scf-gated-tuned": -5,
    "af_af-gated-tuned": 8,
    "iaf_scf-gated-mixture-small": 0,
}
PTB_PUBLISHED = {"LSTM 1.41, AF/AF 1.42": 1.415, "AF/SCF 1.46": 1.46, "IAF/SCF 1.63": 1.63}
JSB_MODELS = ("af_codebook", "lstm", "af_af", "af_scf", "iaf_scf")
JSB_PUBLISHED = {"LSTM 8.17": 8.17, "flows 6.53 to 6.64": 6.59, "RNN-NADE 5.19": 5.19}


def rows_of(run: Path, split: str) -> list[dict[str, Any]]:
    """The metrics of one split of a committed run, in order."""
    return [row for row in read_rows(run / "metrics.jsonl") if row["split"] == split]


def score_of_test(run: Path, name: str) -> float:
    """A committed test score."""
    return json.loads((run / "eval_test.json").read_text())["scores"][name]


def draw_published(axes: plt.Axes, published: dict[str, float], places: list[tuple]) -> None:
    """Lines with names, each at an x and with its text on that side of it, above or below."""
    for (text, score), (x, side, above) in zip(published.items(), places, strict=True):
        axes.axhline(score, color="0.85", linewidth=0.8, zorder=0)
        axes.annotate(f"{text}, published", (x, score), color="0.5", fontsize=8, ha=side,
                      va="bottom" if above else "top")  # fmt: skip


def draw_ptb_run(axes: plt.Axes, run: str) -> None:
    """A run's validation curve, named at its end with the test score."""
    name, colour = MODELS[run.split("-")[0]]
    name += ", size small" if run.endswith("-small") else ""
    rows = rows_of(PTB / run, "valid")
    thousands, bits = [row["step"] / 1000 for row in rows], [row["bpc"] for row in rows]
    # The curves of the gated language model and of the codebook flow lie on each other.
    axes.plot(thousands, bits, colour, linewidth=4 if run.startswith("gated") else 1.5)
    label = f"{name}: test NLL {score_of_test(PTB / run, 'nll_bits'):.3f}"
    place = (thousands[-1], bits[-1])
    axes.annotate(label, place, (6, PTB_RUNS[run]), textcoords="offset points",
                  color=colour, va="center")  # fmt: skip


def draw_ptb() -> None:
    """Penn Treebank: curves against steps, of 16 lines in every run."""
    figure, axes = plt.subplots(figsize=(8, 4.6), layout="constrained")
    for run in PTB_RUNS:
        draw_ptb_run(axes, run)
    # The lower lines are named on the left, where the curves have not come down yet.
    places = [(0.2, "left", False), (0.2, "left", True), (42.8, "right", True)]
    draw_published(axes, PTB_PUBLISHED, places)
    axes.set(xlim=(0, 43), ylim=(1.3, 3.3), xlabel="thousands of training steps, 16 lines each")
    axes.set(
        ylabel="minus ELBO of validation, bits per character",
        title="Penn Treebank, one CPU core, 67 to 104 minutes each",
    )
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig("docs/ptb_char.png", dpi=110)


def nats_per_frame(row: dict[str, Any]) -> float:
    """Minus the ELBO; older runs have it in bits."""
    return row["nats_per_frame"] if "nats_per_frame" in row else row["bpc"] * math.log(2)


def draw_jsb_run(axes: plt.Axes, model: str) -> None:
    """Training and validation curves of a tuned run."""
    run, (name, colour) = MUSIC / f"jsb_chorales-{model}-tuned", MODELS[model]
    label = f"{name}: test NLL {score_of_test(run, 'nll_nats'):.2f}"
    steps_of_epoch = rows_of(run, "valid")[0]["step"]
    for split, alpha, text in (("train", 0.3, None), ("valid", 1.0, label)):
        rows = rows_of(run, split)
        nats = [nats_per_frame(row) for row in rows]
        epochs = [row["step"] / steps_of_epoch for row in rows]
        axes.plot(epochs, nats, color=colour, alpha=alpha, label=text)


def draw_jsb() -> None:
    """JSB chorales at size tuned."""
    figure, axes = plt.subplots(figsize=(8, 3.8), layout="constrained")
    for model in JSB_MODELS:
        draw_jsb_run(axes, model)
    places = [(60.8, "right", True), (60.8, "right", True), (0.4, "left", True)]
    draw_published(axes, JSB_PUBLISHED, places)
    axes.set(ylim=(4, 11), xlim=(0, 61), xlabel="epochs", ylabel="minus ELBO, nats per frame")
    axes.set(title="JSB chorales, size tuned: training (faint) and validation")
    axes.legend()
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig("docs/jsb_chorales.png", dpi=110)


if __name__ == "__main__":
    draw_ptb()
    draw_jsb()
