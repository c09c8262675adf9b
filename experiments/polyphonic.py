"""The four standard sets of piano rolls: `polyphonic` in nlf_jax/cli/experiments.py.

python -m experiments.polyphonic --mode=train --dataset=jsb_chorales --model=af_scf
"""

import sys

from nlf_jax.cli.commands import main
from nlf_jax.cli.experiments import POLYPHONIC

if __name__ == "__main__":
    sys.exit(main(POLYPHONIC))
