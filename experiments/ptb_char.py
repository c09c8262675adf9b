"""Penn Treebank, character by character, one line a sequence.

    python -m experiments.ptb_char --mode=train --model=af_scf --size=small

The data are read from --data_dir or NLF_DATA_DIR, or else downloaded.
"""

import sys

from experiments.launch import Experiment, main
from nlf_jax.data.corpus import load_ptb

EXPERIMENT = Experiment(
    name="ptb_char",
    description=__doc__,
    load_corpus=lambda flags, max_length: load_ptb(flags["data_dir"], max_length),
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
