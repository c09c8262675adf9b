"""Your own music: a folder of MIDI files.

    python -m experiments.midi --mode=train --midi_dir=my_midi_files

A report says what was read of each file, or why it was refused. A tenth of the pieces is for
validation and a tenth for testing, by a hash of their content. Pieces longer than
--config.max_length frames are cut into equal parts.
"""

import sys
from collections.abc import Callable
from typing import Any

from experiments.launch import Experiment, main
from experiments.music import fit
from nlf_jax.data.corpus import Corpus
from nlf_jax.data.midi_folder import load_midi_folder
from nlf_jax.errors import UserError


def _load(flags: dict[str, Any], max_length: int) -> Corpus:
    if not flags["midi_dir"]:
        raise UserError("give your MIDI files with --midi_dir=FOLDER.")
    corpus, report = load_midi_folder(
        flags["midi_dir"],
        **_frame(flags),
        max_length=max_length,
    )
    print(report)
    return fit(corpus, max_length)


def _frame(flags: dict[str, Any]) -> dict[str, Any]:
    seconds = _number(flags, "frame_seconds", float, None)
    if seconds is not None:
        return {"frame_seconds": seconds}
    return {"frames_per_quarter": _number(flags, "frames_per_quarter", int, 4)}


def _number(flags: dict[str, Any], name: str, kind: Callable, default: Any) -> Any:
    try:
        return default if flags[name] is None else kind(flags[name])
    except ValueError as error:
        kind_name = "whole number" if kind is int else "number"
        raise UserError(f"--{name} needs a {kind_name}, got {flags[name]!r}.") from error


EXPERIMENT = Experiment(
    name="midi",
    description=__doc__,
    load_corpus=_load,
    flags={
        "midi_dir": "Folder of your MIDI files; folders in it are read too.",
        "frames_per_quarter": "Frames in a quarter note, 1 to 64 [4].",
        "frame_seconds": "Seconds that a frame lasts, instead.",
    },
    frame=_frame,
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
