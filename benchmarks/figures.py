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
PTB_RUNS = {
    "af_codebook-gated-tuned": ("codebook flow", "C0", -9),
    "gated-tuned": ("its language model", "0.4", 3),
    "lstm-tuned": ("LSTM", "C1", 11),
    "af_scf-gated-tuned": ("AF/SCF", "C2", -5),
    "af_af-gated-tuned": ("AF/AF", "C3", 8),
    "iaf_scf-gated-small": ("IAF/SCF, size small", "C4", 0),
}
PTB_PUBLISHED = {"LSTM 1.41": 1.41, "AF/SCF 1.46": 1.46, "IAF/SCF 1.63": 1.63}
JSB_MODELS = {
    "af_codebook": "codebook flow",
    "lstm": "LSTM",
    "af_af": "AF/AF",
    "af_scf": "AF/SCF",
    "iaf_scf": "IAF/SCF",
}
JSB_PUBLISHED = {"lstm": 8.17, "af_af": 6.53, "af_scf": 6.64, "iaf_scf": 6.59}


def rows_of(run: Path, split: str) -> list[dict[str, Any]]:
    """The metrics of one split of a committed run, in order."""
    return [row for row in read_rows(run / "metrics.jsonl") if row["split"] == split]


def score_of_test(run: Path, name: str) -> float:
    """A committed test score."""
    return json.loads((run / "eval_test.json").read_text())["scores"][name]


def draw_ptb_run(axes: plt.Axes, run: str) -> None:
    """A run's validation curve, named at its end with the test score."""
    name, colour, raised = PTB_RUNS[run]
    rows = rows_of(PTB / run, "valid")
    thousands, bits = [row["step"] / 1000 for row in rows], [row["bpc"] for row in rows]
    axes.plot(thousands, bits, colour)
    label = f"{name}: test {score_of_test(PTB / run, 'nll_bits'):.3f}"
    axes.annotate(label, (thousands[-1], bits[-1]), (6, raised), textcoords="offset points",
                  color=colour, va="center")  # fmt: skip


def draw_ptb() -> None:
    """Penn Treebank: curves against steps, of 16 lines in every run."""
    figure, axes = plt.subplots(figsize=(8, 4.6), layout="constrained")
    for run in PTB_RUNS:
        draw_ptb_run(axes, run)
    for text, bits in PTB_PUBLISHED.items():
        axes.axhline(bits, color="0.8", linewidth=0.8, zorder=0)
        # The lower lines are named on the left, where the curves have not come down yet.
        x, side = (39.8, "right") if bits > 1.5 else (0.2, "left")
        axes.annotate(f"{text}, published", (x, bits), color="0.5", fontsize=8, va="bottom",
                      ha=side)  # fmt: skip
    axes.set(xlim=(0, 40), ylim=(1.3, 3.3), xlabel="thousands of training steps, 16 lines each")
    axes.set(
        ylabel="bits per character",
        title="Penn Treebank, one CPU core, 63 to 98 minutes each: validation",
    )
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig("docs/ptb_char.png", dpi=110)


def nats_per_frame(row: dict[str, Any]) -> float:
    """Minus the ELBO; older runs have it in bits."""
    return row["nats_per_frame"] if "nats_per_frame" in row else row["bpc"] * math.log(2)


def draw_jsb_run(axes: plt.Axes, model: str, colour: str) -> None:
    """Training and validation curves of a tuned run, and the published score."""
    run, name = MUSIC / f"jsb_chorales-{model}-tuned", JSB_MODELS[model]
    label = f"{name}: test NLL {score_of_test(run, 'nll_nats'):.2f}"
    if model in JSB_PUBLISHED:
        label += f", published {JSB_PUBLISHED[model]}"
        axes.axhline(JSB_PUBLISHED[model], color=colour, linestyle=":")
    for split, alpha, text in (("train", 0.3, None), ("valid", 1.0, label)):
        rows = rows_of(run, split)
        nats = [nats_per_frame(row) for row in rows]
        axes.plot([row["epoch"] + 1 for row in rows], nats, colour, alpha=alpha, label=text)


def draw_jsb() -> None:
    """JSB chorales at size tuned."""
    figure, axes = plt.subplots(figsize=(8, 3.8), layout="constrained")
    for index, model in enumerate(JSB_MODELS):
        draw_jsb_run(axes, model, f"C{index}")
    axes.set(ylim=(4.5, 11), xlabel="epochs", ylabel="-ELBO, nats per frame")
    axes.set(title="JSB chorales: training (faint), validation; dotted: published test NLL")
    axes.legend()
    figure.savefig("docs/jsb_chorales.png", dpi=110)


if __name__ == "__main__":
    draw_ptb()
    draw_jsb()
