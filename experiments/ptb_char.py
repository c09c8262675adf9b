"""Penn Treebank, character by character: `ptb_char` in nlf_jax/cli/experiments.py.

python -m experiments.ptb_char --mode=train --model=af_scf --size=small
"""

import sys

from nlf_jax.cli.commands import main
from nlf_jax.cli.experiments import PTB_CHAR

if __name__ == "__main__":
    sys.exit(main(PTB_CHAR))
