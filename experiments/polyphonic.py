"""Polyphonic music: the four standard sets of piano rolls.

    python -m experiments.polyphonic --mode=train --dataset=jsb_chorales --model=af_scf

The .mat files are read from --data_dir or NLF_DATA_DIR, or else downloaded. Scores are nats per
frame in the convention of the literature on these sets: the length term is part of them, and every
piece counts one frame more than it has. The score without the length term is printed beside it.
"""

import sys
from typing import Any

from experiments.launch import Experiment, main
from experiments.music import fit
from experiments.options import require_choice
from nlf_jax.data.corpus import Corpus
from nlf_jax.data.polyphonic import FRAMES_PER_QUARTER, NAMES, load_polyphonic
from nlf_jax.errors import UserError


def _dataset(flags: dict[str, Any]) -> str:
    if not flags["dataset"]:
        raise UserError(f"choose the data with --dataset={'|'.join(NAMES)}.")
    require_choice("--dataset", flags["dataset"], NAMES)
    return flags["dataset"]


def _load(flags: dict[str, Any], max_length: int) -> Corpus:
    return fit(load_polyphonic(_dataset(flags), flags["data_dir"]), max_length)


EXPERIMENT = Experiment(
    name="polyphonic",
    description=__doc__,
    load_corpus=_load,
    flags={"dataset": f"One of {', '.join(NAMES)}."},
    variant=_dataset,
    frame=lambda flags: {"frames_per_quarter": FRAMES_PER_QUARTER[_dataset(flags)]},
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
