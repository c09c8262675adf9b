"""Your own music, a folder of MIDI files: `midi` in nlf_jax/cli/experiments.py.

python -m experiments.midi --mode=train --midi_dir=my_midi_files
"""

import sys

from nlf_jax.cli.commands import main
from nlf_jax.cli.experiments import MIDI

if __name__ == "__main__":
    sys.exit(main(MIDI))
