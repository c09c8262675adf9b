"""Your own text, a line a sequence: `text` in nlf_jax/cli/experiments.py.

python -m experiments.text --mode=train --text_file=my.txt
"""

import sys

from nlf_jax.cli.commands import main
from nlf_jax.cli.experiments import TEXT

if __name__ == "__main__":
    sys.exit(main(TEXT))
