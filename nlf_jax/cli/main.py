"""The command ``nlf``: trains models of text and music, and uses trained ones.

    nlf train quickstart|ptb_char|text|polyphonic|bach|midi [flags]
    nlf sample|continue|reconstruct|interpolate MODEL [flags]
    nlf score MODEL --text=TEXT|--text_file=FILE|-|--midi_file=FILE|--midi_dir=FOLDER [flags]
    nlf eval MODEL [flags]
    nlf report MODEL [--output=FILE] [--figures=FOLDER] [flags]
    nlf export WORKDIR [--output=FILE]

MODEL is the workdir of a run, a file that ``nlf export`` wrote, or pretrained:NAME for a model that
comes with the package. A workdir keeps what is made of it; what is made of a file or a pretrained
model goes into a folder of its name, in the current one.

``nlf sample MODEL --help`` explains every flag, ``nlf train EXPERIMENT --help`` those of training
too.
"""

import sys
from collections.abc import Sequence
from typing import Any

from nlf_jax import pretrained
from nlf_jax.cli.commands import main as run_experiment
from nlf_jax.cli.exit_codes import exit_code
from nlf_jax.cli.experiments import EXPERIMENTS
from nlf_jax.cli.flags import MODES
from nlf_jax.cli.run import Experiment
from nlf_jax.data.corpus import Corpus
from nlf_jax.errors import UserError
from nlf_jax.options import require_choice
from nlf_jax.training.fit import EXPERIMENT as FIT
from nlf_jax.training.loading import read_description


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; gives the exit code, 2 after a user's mistake."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return exit_code(lambda: _run(arguments))


def _run(arguments: list[str]) -> int:
    wants_help = arguments[:1] == ["help"] or {"--help", "-h"}.intersection(arguments[:2])
    if wants_help or not arguments:
        print((__doc__ or "").strip())
        print(f"Pretrained models: {', '.join(pretrained.names()) or 'none'}")
        return 0 if arguments else 2
    command, *rest = arguments
    require_choice("the command", command, MODES)
    what = "EXPERIMENT" if command == "train" else "WORKDIR"
    what = what if command in ("train", "export") else "MODEL"
    if not rest or rest[0].startswith("-"):
        raise UserError(f"give `nlf {command}` {what} before the flags; `nlf --help` lists them.")
    subject, *flags = rest
    for flag in ("mode",) if command == "train" else ("mode", "workdir"):
        if any(word.lstrip("-").partition("=")[0] == flag for word in flags if word[:1] == "-"):
            raise UserError(f"--{flag} is said by `nlf {command} {subject}` already: leave it out.")
    if command == "train":
        require_choice("the experiment", subject, EXPERIMENTS)
        return run_experiment(EXPERIMENTS[subject], flags)
    directory = [f"--mode={command}", f"--workdir={subject}"]
    return run_experiment(_experiment_of(subject), [*directory, *flags])


def _experiment_of(source: str) -> Experiment:
    """The experiment of a trained model; one without data for what ``nlf_jax.fit`` left."""
    name = read_description(source)["experiment"]
    if name == FIT:
        return Experiment(name, "A run of nlf_jax.fit, which keeps no data.", _no_data)
    require_choice(f"the experiment of {source}", name, EXPERIMENTS)
    return EXPERIMENTS[name]


def _no_data(flags: dict[str, Any], max_length: int) -> Corpus:
    raise UserError(
        "the run was made by nlf_jax.fit, which keeps no data: give sequences with --text or "
        "--midi_file, or use it in Python."
    )


if __name__ == "__main__":
    sys.exit(main())
