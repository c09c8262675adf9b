"""Your own text: every line of a UTF-8 file is a sequence.

    python -m experiments.text --mode=train --text_file=my.txt

The lines are split into training, validation and test lines (90/5/5) by a hash.
"""

import sys
from typing import Any

from experiments.launch import Experiment, main
from nlf_jax.data.corpus import Corpus, load_text_file
from nlf_jax.errors import UserError


def _load(flags: dict[str, Any], max_length: int) -> Corpus:
    if not flags["text_file"]:
        raise UserError("give your text with --text_file=FILE.")
    return load_text_file(flags["text_file"], max_length)


EXPERIMENT = Experiment(
    name="text",
    description=__doc__,
    model="af_codebook",
    load_corpus=_load,
    flags={"text_file": "Your text, one sequence a line."},
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
