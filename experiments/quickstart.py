"""The quick start: `quickstart` in nlf_jax/cli/experiments.py.

python -m experiments.quickstart
"""

import sys

from nlf_jax.cli.commands import main
from nlf_jax.cli.experiments import QUICKSTART

if __name__ == "__main__":
    sys.exit(main(QUICKSTART))
