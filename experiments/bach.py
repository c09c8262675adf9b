"""Bach's four-part chorales: `bach` in nlf_jax/cli/experiments.py.

python -m experiments.bach --mode=train --model=af_scf
"""

import sys

from nlf_jax.cli.commands import main
from nlf_jax.cli.experiments import BACH

if __name__ == "__main__":
    sys.exit(main(BACH))
