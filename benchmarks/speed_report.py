"""How the benchmark's figures are shown: lines of a table, and generation time against T."""

import re
from pathlib import Path
from typing import Any

COLUMNS = (
    ("seconds", "seconds", "{:.4f}"),
    ("theirs", "theirs", "{:.4f}"),
    ("ratio", "ratio", "{:.2f}"),
    ("scaled", "scaled", "{:.2f}"),
    ("GFLOP/s", "gflops", "{:.1f}"),
    ("matmul", "matmul_fraction", "{:.0%}"),
    ("reading", "reading_fraction", "{:.0%}"),
    ("compile s", "compile_seconds", "{:.1f}"),
    ("peak MB", "peak_mbytes", "{:.0f}"),
    ("in RAM MB", "resident_mbytes", "{:.0f}"),
    ("in turn", "sequential_steps", "{:,}"),
)
NAME_WIDTH, WIDTH = 44, 10
HEADER = "cell".ljust(NAME_WIDTH) + "".join(title.rjust(WIDTH) for title, _, _ in COLUMNS)
LABELS = {"af_af": "AF/AF", "af_scf": "AF/SCF", "iaf_scf": "IAF/SCF", "lstm": "LSTM baseline"}


def row(cell: dict[str, Any]) -> str:
    """One line of the table: figures, a dash for each that there is none of, or a note."""
    if "note" in cell:
        return cell["name"].ljust(NAME_WIDTH) + cell["note"]
    values = ((cell.get(key), form) for _, key, form in COLUMNS)
    shown = ("-" if value is None else form.format(value) for value, form in values)
    return cell["name"].ljust(NAME_WIDTH) + "".join(text.rjust(WIDTH) for text in shown)


def generation_curves(cells: dict[str, dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """(T, seconds) of every model in the sweep of generation over T."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for name, cell in cells.items():
        if found := re.match(r"sweep-generate-T/small/(\w+)/ptb-B1-T(\d+)-", name):
            curves.setdefault(found[1], []).append((int(found[2]), cell["seconds"]))
    return {model: sorted(points) for model, points in curves.items()}


def draw_generation(cells: dict[str, dict[str, Any]], path: Path) -> None:
    """Draws generation time against T for all models, if the sweep was measured."""
    curves = generation_curves(cells)
    if not curves:
        return
    import matplotlib.pyplot as plt  # an optional package, needed by the sweep only

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for model, points in curves.items():
        axes.plot(*zip(*points, strict=True), marker="o", label=LABELS[model])
    axes.set(xscale="log", yscale="log", xlabel="T, steps", ylabel="seconds for one sequence")
    axes.set_xticks([t for t, _ in next(iter(curves.values()))])
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.set_title("Generating one sequence on a CPU, small models")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
