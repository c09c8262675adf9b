"""What the latents of two trained codebook flows give: exactness, typical noise, times, examples.

    python -m benchmarks.latent_report --workdir=RUN --other=RUN --output=results/latents.json

Both runs are of Penn Treebank. Test lines are taken back to noise and forward again, by the same
model and by the other; points between two lines are scored; encoding, drawing and drawing from the
language model inside are timed in turn. Takes about two minutes on a core.
"""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import nlf_jax
from benchmarks.timing import seconds_of, time_in_turn
from nlf_jax.bijectors.recurrent import SequenceContext
from nlf_jax.cli.exit_codes import exit_code
from nlf_jax.data.text.corpora import load_ptb
from nlf_jax.errors import UserError
from nlf_jax.models import SequenceModel
from nlf_jax.models.codebook_flow import CodebookFlow
from nlf_jax.nn.position import step_mask

NUM_LINES, LENGTHS, NUM_PAIRS = 64, (40, 60), 8


def _network(model: SequenceModel) -> CodebookFlow:
    if not isinstance(model.network, CodebookFlow):
        raise UserError("a run has no codebook flow: train one with --model=af_codebook.")
    return model.network


def _test_lines() -> tuple[jax.Array, jax.Array]:
    """The first test lines of middling length, int32 [B, T] and their lengths."""
    lines = [row for row in load_ptb().splits["test"] if LENGTHS[0] <= len(row) <= LENGTHS[1]]
    lines = lines[:NUM_LINES]
    x = np.zeros((len(lines), LENGTHS[1]), np.int32)
    for row, line in zip(x, lines, strict=True):
        row[: len(line)] = line
    return jnp.asarray(x), jnp.array([len(line) for line in lines], jnp.int32)


@jax.jit
def _to_latent(network: CodebookFlow, x, lengths, key):
    """A draw from the posterior, [T, B, D]."""
    posterior = network.encode(jnp.swapaxes(x, 0, 1), lengths)
    return posterior.sample(jax.random.normal(key, posterior.mean.shape))


@jax.jit
def _to_noise(network: CodebookFlow, z, lengths):
    """Noise of latents, all steps at once."""
    return network.prior.inverse_and_log_det(z, SequenceContext(lengths))[0]


@jax.jit
def _from_noise(network: CodebookFlow, noise, lengths):
    """Latents of noise and their likeliest symbols [B, T], step after step."""
    z, _ = network.prior.forward_and_log_det(noise, SequenceContext(lengths))
    return z, jnp.swapaxes(network.emission.mode(network.scores(z, lengths)), 0, 1)


def _exactness(model: SequenceModel, other: SequenceModel, x, lengths) -> dict[str, Any]:
    """There and back, and the noise under the other model."""
    network = _network(model)
    z = _to_latent(network, x, lengths, jax.random.key(0))
    noise = _to_noise(network, z, lengths)
    z_back, symbols = _from_noise(network, noise, lengths)
    _, elsewhere = _from_noise(_network(other), noise, lengths)
    mask = np.asarray(step_mask(lengths, x.shape[1]))
    steps, width = noise[mask], network.config.code_width
    return {
        "lines": len(lengths),
        "symbols": int(mask.sum()),
        "symbols_back": int(((symbols == x) & mask.T).sum()),
        "largest_latent_error_in_widths": float(jnp.abs(z_back - z)[mask].max() / width),
        "noise_mean": float(steps.mean()),
        "noise_variance": float(steps.var()),
        "symbols_same_under_other_model": int(((elsewhere == x) & mask.T).sum()),
        "under_other_model": _other_lines(other, elsewhere, lengths, x)[:5],
    }


def _other_lines(model: SequenceModel, symbols, lengths, x) -> list[dict[str, str]]:
    """Each line and what the other model makes of its noise."""
    decode = model.vocabulary.decode
    pairs = zip(decode(x, lengths), decode(np.asarray(symbols), lengths), strict=True)
    return [{"line": line, "other": other} for line, other in pairs]


def _bits_per_symbol(model: SequenceModel, samples: nlf_jax.Samples) -> list[float]:
    """Of every row, without the length term."""
    elbo = jax.jit(nlf_jax.elbo)(model, samples.symbols, samples.lengths, jax.random.key(1))
    nats = elbo.kl - elbo.reconstruction
    return [round(float(b), 3) for b in nats / samples.lengths / math.log(2)]


def _blends(model: SequenceModel, x, lengths) -> list[dict[str, Any]]:
    """Points between neighbouring lines and what the model gives each of them, in bits."""
    rows = []
    for i in range(0, 2 * NUM_PAIRS, 2):
        ends = [x[j][: lengths[j]] for j in (i, i + 1)]
        points = nlf_jax.interpolate(model, *ends, jax.random.key(2), num_points=5)
        texts = model.vocabulary.decode(*points)
        rows.append({"texts": texts, "bits": _bits_per_symbol(model, points)})
    return rows


def _times(model: SequenceModel, x, lengths) -> dict[str, float]:
    """Median seconds for all lines together, all taken in turn."""
    network = _network(model)
    inside = model.replace(network=network.language_model)
    z = _to_latent(network, x, lengths, jax.random.key(0))
    noise, count, steps = _to_noise(network, z, lengths), len(x), x.shape[1]

    def draw(model):
        return nlf_jax.sample(model, jax.random.key(3), num_samples=count, length=steps)

    calls = {
        "to_noise": lambda: _to_noise(network, z, lengths),
        "from_noise": lambda: _from_noise(network, noise, lengths),
        "sample": lambda: draw(model),
        "sample_language_model": lambda: draw(inside),
    }
    for call in calls.values():
        seconds_of(call)  # compiles
    taken = time_in_turn(calls, quick=False)
    return {name: float(np.median(seconds)) for name, seconds in taken.items()}


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("workdir", "other", "output"):
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()
    model, other = nlf_jax.load(arguments.workdir), nlf_jax.load(arguments.other)
    x, lengths = _test_lines()
    report = {
        "workdir": Path(arguments.workdir).name,
        "other": Path(arguments.other).name,
        "exactness": _exactness(model, other, x, lengths),
        "interpolation": _blends(model, x, lengths),
        "bits_of_test_lines": float(np.mean(_bits_per_symbol(model, nlf_jax.Samples(x, lengths)))),
        "seconds_for_all_lines": _times(model, x, lengths),
    }
    Path(arguments.output).write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    sys.exit(exit_code(main))
