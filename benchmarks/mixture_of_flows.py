"""Scores a mixture of codebook flows: at every step one of them, chosen at random, is drawn from.

    python -m benchmarks.mixture_of_flows --dataset=jsb_chorales --split=valid WORKDIR WORKDIR ..

    p(x_t | x_<t, T) = 1/K sum_k p_k(x_t | x_<t, T)

with the flows' exact conditionals; no weights are learned. In the convention of every score: sums
over the split by the number of steps, each sequence's end counted as one, and p(T) included.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.special import logsumexp

from benchmarks.timing import command_of
from nlf_jax.cli.exit_codes import exit_code
from nlf_jax.data.music.polyphonic import load_polyphonic
from nlf_jax.errors import UserError
from nlf_jax.files import write_atomically
from nlf_jax.scoring import Score, score
from nlf_jax.training.evaluate import CONVENTION, ratio_with_error
from nlf_jax.training.loading import load


def mix(scores: Sequence[Sequence[Score]]) -> list[Score]:
    """The mixture's score of every sequence, given each flow's.

    Raises:
        UserError: a flow's is not exact, so that it has no conditionals.
    """
    return [_mix_one(each) for each in zip(*scores, strict=True)]


def _mix_one(scores: Sequence[Score]) -> Score:
    if not all(each.exact for each in scores):
        raise UserError("a mixture is of models whose scores are exact: see nlf_jax.score.")
    costs = np.stack([each.cost_by_step for each in scores]).astype(np.float64)
    by_step = np.log(len(costs)) - logsumexp(-costs, axis=0)
    return scores[0]._replace(by_step=by_step, nats_given_length=float(by_step.sum()))


def summarise(scores: Sequence[Score]) -> dict[str, float]:
    """The score of a split with its standard error over sequences, and that without lengths."""
    steps = np.array([each.steps for each in scores])
    nll, error = ratio_with_error(np.array([each.nats for each in scores]), steps + 1)
    given_length = np.array([each.nats_given_length for each in scores])
    no_length, _ = ratio_with_error(given_length, steps)
    return {"nll_nats": nll, "nll_nats_standard_error": error, "nll_no_length_nats": no_length}


def main(argv: Sequence[str] | None = None) -> None:
    """Prints, and maybe keeps, the scores of each flow and of their mixture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mixture_of_flows")
    parser.add_argument("--dataset", required=True, help="one of the polyphonic sets")
    parser.add_argument("--split", choices=("valid", "test"), required=True)
    parser.add_argument("--data_dir", default=os.environ.get("NLF_DATA_DIR"))
    parser.add_argument("--output", type=Path, help="the JSON")
    parser.add_argument("workdirs", nargs="+")
    options = parser.parse_args(argv)
    pieces = load_polyphonic(options.dataset, options.data_dir).splits[options.split]
    scores = [score(load(workdir), pieces) for workdir in options.workdirs]
    report = {
        "command": command_of("mixture_of_flows", argv),
        "convention": CONVENTION,
        "sequences": len(pieces),
        "each": [summarise(each) for each in scores],
        "mixture": summarise(mix(scores)),
    }
    text = json.dumps(report, indent=1) + "\n"
    print(text, end="")
    if options.output:
        write_atomically(options.output, text)


if __name__ == "__main__":
    sys.exit(exit_code(main))
