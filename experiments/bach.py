"""Bach's four-part chorales, out of the corpus that comes with the package music21.

    python -m experiments.bach --mode=train --model=af_scf

Nothing is downloaded. These are not the JSB chorales of the literature: other pieces, eighth-note
frames, a split by title. Twelve melodies are in two splits under different titles.
"""

import sys

from experiments.launch import Experiment, main
from experiments.music import fit
from nlf_jax.data.chorales import FRAMES_PER_QUARTER, load_chorales

EXPERIMENT = Experiment(
    name="bach",
    description=__doc__,
    load_corpus=lambda flags, max_length: fit(load_chorales(), max_length),
    frame=lambda flags: {"frames_per_quarter": FRAMES_PER_QUARTER},
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
