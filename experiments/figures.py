"""Draws the README's picture of the committed Penn Treebank runs: docs/ptb_small.png.

python -m experiments.figures
"""

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

RESULTS = Path("results/ptb_char")
RUNS = {
    "af_scf-small": ("AF/SCF latent flow", "C0"),
    "lstm-small": ("LSTM baseline", "C1"),
}


def read_rows(run: str, split: str) -> list[dict[str, Any]]:
    """The metrics of one split of a committed run, in order."""
    lines = (RESULTS / run / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["split"] == split]


def draw_run(axes: plt.Axes, run: str) -> None:
    """Training and validation curves of a run and its test score."""
    name, colour = RUNS[run]
    train, valid = read_rows(run, "train"), read_rows(run, "valid")
    scores = json.loads((RESULTS / run / "eval_test.json").read_text())["scores"]
    label = f"{name}: test {scores['nll_bits']:.3f} bits per character"
    axes.plot([r["seconds"] / 60 for r in train], [r["bpc"] for r in train], colour, alpha=0.3)
    minutes, bits = [r["seconds"] / 60 for r in valid], [r["bpc"] for r in valid]
    axes.plot(minutes, bits, colour, marker="o", label=label)


def main() -> None:
    """Writes the picture."""
    figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
    for run in RUNS:
        draw_run(axes, run)
    axes.axhline(2.0, color="0.7", linestyle=":")
    axes.set(ylim=(1.3, 4.5), xlabel="minutes on two cores that also did other work")
    axes.set(ylabel="bits per character", title="Penn Treebank: training (faint), validation")
    axes.legend()
    figure.savefig("docs/ptb_small.png", dpi=110)


if __name__ == "__main__":
    main()
