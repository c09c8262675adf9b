"""Reconstruction and KL of every step of the data."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from nlf_jax.models import Network
from nlf_jax.report.curves import label_ends
from nlf_jax.report.figures import BLUE, GREEN, Figure, Panel, titled
from nlf_jax.report.html import joined, paragraph
from nlf_jax.report.page import Section, left_out
from nlf_jax.report.subject import Subject

TITLE = "Cost by position"
_MAX_ROWS, _MAX_STEPS, _NUM_BINS, _LEAST_IN_BIN = 64, 512, 24, 4


@jax.jit
def step_costs(
    network: Network, x: Array, lengths: Int[Array, "B"], key: PRNGKeyArray
) -> tuple[Float[Array, "T B"], Float[Array, "T B"]]:
    """Reconstruction and KL of every step, nats; 0 past a sequence's end.

    The KL of step t is ``log q(z_t | x) - log p(z_t | z_{<t})`` at a draw of z. A language model
    has its exact ``-log p(x_t | x_{<t})`` for a reconstruction, and no KL.

    Args:
        x: symbols [B, T, ..].
    """
    terms = network.terms_by_step(x, lengths, jax.random.split(key, len(x)), num_samples=1)
    return -terms.reconstruction[..., 0], terms.kl[..., 0]


def positions_section(subject: Subject) -> Section:
    """A curve of each part over the positions."""
    rows = [row for row in subject.rows if len(row) <= _MAX_STEPS][:_MAX_ROWS]
    if not rows:
        return left_out(TITLE, subject.rows_are if not len(subject.rows) else "all rows are long")
    x, lengths = subject.batch(rows)
    costs = jax.device_get(step_costs(subject.model.network, x, lengths, subject.key))
    if not np.isfinite(costs).all():
        return left_out(TITLE, "a step costs more than can be told")
    scale = subject.unit.per_nat
    curves = [binned(scale * np.asarray(each), np.asarray(lengths)) for each in costs]
    figure = _figure(subject, curves, len(rows))
    words = "How much a step costs, by where it stands in the sequence."
    return Section(TITLE, joined([paragraph(words), figure.html()]), (figure,))


def binned(
    values: Float[np.ndarray, "T B"], lengths: Int[np.ndarray, "B"]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean positions, from 1, and mean values of runs of positions that enough rows have."""
    present = np.arange(len(values))[:, None] < lengths
    enough = present.sum(1) >= min(_LEAST_IN_BIN, len(lengths))
    num_steps = max(1, int(enough.sum()))
    bins = np.array_split(np.arange(num_steps), min(num_steps, _NUM_BINS))
    means = [values[each][present[each]].mean() for each in bins]
    return np.array([each.mean() + 1 for each in bins]), np.array(means)


def _figure(subject: Subject, curves: list[Any], num_rows: int) -> Figure:
    names = [("reconstruction", GREEN), ("KL", BLUE)] if subject.has_latent else [("NLL", BLUE)]
    lines = [(*name, *curve) for name, curve in zip(names, curves, strict=False)]

    def draw(figure: Any) -> None:
        axes = figure.add_subplot(xlabel=f"position, {subject.step_name}")
        for _, colour, x, y in lines:
            axes.plot(x, y, color=colour, marker="o" if len(x) == 1 else None)
        label_ends(axes, lines)
        axes.set_ylim(bottom=min(0.0, *(y.min() for _, _, _, y in lines)))
        axes.set_xlim(0, lines[0][2][-1])
        titled(figure, f"Cost by position, {subject.unit_name}\n{subject.budget}; {num_rows} rows")

    ends = [f"{name} from {y[0]:.2f} to {y[-1]:.2f}" for name, _, _, y in lines]
    alt = f"Cost by position in {subject.unit_name}: {'; '.join(ends)}."
    caption = f"Means over {num_rows} {subject.rows_are}, one draw of the latents each."
    if not subject.has_latent:
        caption = f"Means over {num_rows} {subject.rows_are}; a language model has no KL term."
    return Figure("positions", caption, (Panel(draw, alt),))
