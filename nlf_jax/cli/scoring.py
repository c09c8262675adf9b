"""``--mode=score``: how probable given texts or pieces are, for people and for machines."""

import itertools
import json
import logging
import math
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from nlf_jax.cli.drawing import Trained, read_roll
from nlf_jax.cli.flags import scoring_config
from nlf_jax.cli.run import Run
from nlf_jax.data.music.midi_folder import midi_paths
from nlf_jax.data.text.lines import MAX_FILE_BYTES, break_line, lines_of, read_lines
from nlf_jax.data.text.vocabulary import UNKNOWN_ID
from nlf_jax.errors import UserError, printable
from nlf_jax.scoring import Score, score, total
from nlf_jax.training.hosts import primary_only
from nlf_jax.training.units import Unit, unit_of

STANDARD_INPUT = "-"
# Backgrounds of the 256 colours for a symbol of so many bits and more, with black on them.
_LEVELS = ((1, 230), (2, 222), (4, 215), (6, 209), (8, 203))
_logger = logging.getLogger(__name__)


class Item(NamedTuple):
    """A sequence to score.

    Attributes:
        label: of the line or the file, for people.
        place: the same for machines.
        sequence: ids int32 [T], or a roll bool [T, 88].
        text: None for music.
    """

    label: str
    place: dict[str, Any]
    sequence: np.ndarray
    text: str | None = None


def show_scores(run: Run) -> None:
    """Prints the score of each given sequence and of all."""
    description, model, _ = run.load_trained()
    trained = Trained(run, description, scoring_config(description, run.line), model)
    as_json = trained.flags["json"]
    items = list(_text_items(trained) if trained.is_text else _music_items(trained))
    if not as_json:
        print(f"Scoring {len(items):,} sequences; the first of each length compile ...", flush=True)
    scores = score(
        model,
        [item.sequence for item in items],
        trained.key,
        num_samples=trained.config.nll_samples,
        batch_size=trained.config.eval_batch_size,
        mesh=run.mesh,
    )
    unit = unit_of(trained.config)
    (_show_json if as_json else _show_table)(items, scores, unit)


def _text_items(trained: Trained) -> Iterator[Item]:
    """The given lines that are not blank."""
    flags, vocabulary = trained.flags, trained.model.vocabulary
    _refuse(trained, ("midi_file", "midi_dir"), "--text, --text_file or - (standard input)")
    if vocabulary is None:
        raise UserError("a text does not suit this model, whose symbols are plain ids.")
    named = [({"text": n}, line) for n, line in enumerate(flags["text"] or [], 1)]
    named += [({"line": n}, line) for n, line in enumerate(_lines(flags["text_file"]), 1)]
    filled = [(place, line) for place, line in named if line.strip()]
    if not filled:
        raise UserError("there is nothing to score: every given line is blank.")
    fitting = _fitting(trained, [(_label(place), len(line)) for place, line in filled])
    replaced = 0
    for (place, line), fits in zip(filled, fitting, strict=True):
        parts = [line] if fits else break_line(line, trained.model.max_length)
        for number, part in enumerate(parts, 1):
            where = place if len(parts) == 1 else place | {"part": number}
            try:
                ids = vocabulary.encode(part, flags["unseen"])
            except UserError as error:
                raise UserError(f"{_label(where)}: {error}") from error
            replaced += int((vocabulary.encode_known(part) == UNKNOWN_ID).sum())
            yield Item(_label(where), where, ids, part)
    if replaced:
        _logger.warning("%d symbols unseen in training are now %r.", replaced, flags["unseen"])


def _music_items(trained: Trained) -> Iterator[Item]:
    """The given pieces that can be read, without the silence before and after them."""
    flags = trained.flags
    _refuse(trained, ("text", "text_file"), "--midi_file or --midi_dir")
    rolls: dict[str, np.ndarray] = {}
    for path in flags["midi_file"] or []:
        rolls[path] = read_roll(path, trained.frame)
    for path in midi_paths(flags["midi_dir"]) if flags["midi_dir"] else []:
        try:
            rolls[path] = read_roll(path, trained.frame)
        except UserError as error:
            _logger.warning("Left out: %s", error)
    if not rolls:
        raise UserError(f"there is nothing to score: no file of {flags['midi_dir']} can be read.")
    fitting = _fitting(trained, [(path, len(roll)) for path, roll in rolls.items()])
    for (path, roll), fits in zip(rolls.items(), fitting, strict=True):
        number = 1 if fits else -(-len(roll) // trained.model.max_length)
        for part, frames in enumerate(np.array_split(roll, number), 1):
            where = {"file": path} if number == 1 else {"file": path, "part": part}
            yield Item(_label(where), where, frames)


def _refuse(trained: Trained, unsuited: Sequence[str], suited: str) -> None:
    """Raises a UserError for inputs of another kind than the model's, and for none."""
    inputs = ("text", "text_file", "midi_file", "midi_dir")
    given = [name for name in inputs if name in trained.run.line.given]
    for name in unsuited:
        if name in given:
            raise UserError(f"--{name} does not suit this model: give {suited}.")
    if not given:
        raise UserError(f"give what is to be scored: {suited}.")


def _lines(path: str | None) -> list[str]:
    if path is None:
        return []
    if path != STANDARD_INPUT:
        return read_lines(path)
    if sys.stdin is None:
        raise UserError("there is no standard input: give a file with --text_file.")
    if sys.stdin.isatty():
        print("Type lines to score; Ctrl-D at the start of a line ends them.", file=sys.stderr)
    content = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise UserError(f"standard input has more than {MAX_FILE_BYTES:,} bytes; give a part.")
    return lines_of(content, "standard input")


def _fitting(trained: Trained, lengths: Sequence[tuple[str, int]]) -> list[bool]:
    """Whether each is short enough for the model; all must be unless they may be cut."""
    longest, unit = trained.model.max_length, "characters" if trained.is_text else "frames"
    long = [(label, length) for label, length in lengths if length > longest]
    if long and not trained.flags["cut"]:
        (label, length), others = long[0], len(long) - 1
        more = f", and {others:,} more are too long" if others else ""
        raise UserError(
            f"{label} has {length:,} {unit}, this model takes at most {longest:,}{more}: give "
            "--cut to cut what is too long, or make it shorter."
        )
    return [length <= longest for _, length in lengths]


def _label(place: dict[str, Any]) -> str:
    (kind, value), *part = place.items()
    start = printable(value) if kind == "file" else f"{kind} {value}"
    return f"{start}, part {part[0][1]}" if part else start


@primary_only
def _show_json(items: Sequence[Item], scores: Sequence[Score], unit: Unit) -> None:
    for item, each in zip(items, scores, strict=True):
        text = {} if item.text is None else {"text": item.text}
        print(json.dumps(item.place | text | _as_json(each, unit)))
    last = {"total": True, "sequences": len(items)}
    print(json.dumps(last | _as_json(total(scores), unit)))


def _as_json(each: Score, unit: Unit) -> dict[str, Any]:
    key = "bits_per_character" if unit.name == "bits" else "nats_per_frame"
    given = each.nats_per_step_given_length * unit.per_nat
    values: dict[str, Any] = {
        "steps": each.steps,
        "exact": each.exact,
        "nats": each.nats,
        "length_nats": each.length_nats,
        "nats_given_length": each.nats_given_length,
        key: each.nats_per_symbol * unit.per_nat,
        f"{key}_given_length": given,
    }
    # JSON has no infinity.
    values = {n: v if math.isfinite(v) else None for n, v in values.items()}
    arrays = {name: getattr(each, name) for name in ("by_step", "reconstruction", "kl")}
    return values | {n: np.round(a, 6).tolist() for n, a in arrays.items() if a is not None}


@primary_only
def _show_table(items: Sequence[Item], scores: Sequence[Score], unit: Unit) -> None:
    width, coloured = max(len(item.label) for item in items), _has_colours()
    width = max(width, len("total"))
    print(f"{'':{width}}  {unit.name} {unit.per}, in all and given the length")
    for item, each in zip(items, scores, strict=True):
        text = item.text or ""
        bits = each.cost_by_step / math.log(2)
        shown = _coloured(text, bits) if coloured and text else printable(text)
        print(f"{item.label:{width}}  {_numbers(each, unit)}  {shown}".rstrip())
    all_of_them, name = total(scores), "characters" if unit.name == "bits" else "frames"
    counts = f"{len(items):,} sequences, {all_of_them.steps:,} {name}"
    print(f"{'total':{width}}  {_numbers(all_of_them, unit)}  {counts}")
    print("".join(_notes(all_of_them, coloured and items[0].text is not None)), end="")


def _numbers(each: Score, unit: Unit) -> str:
    given = each.nats_per_step_given_length * unit.per_nat
    return f"{each.nats_per_symbol * unit.per_nat:8.3f} {given:8.3f}"


def _notes(all_of_them: Score, coloured: bool) -> Iterator[str]:
    """What has to be known to read the table, a line each."""
    if math.isinf(all_of_them.length_nats):
        yield "inf: training never saw a sequence of this length, so that its probability is 0.\n"
    if not all_of_them.exact:
        yield "Estimated by importance sampling, on average a little too high.\n"
    if coloured:
        levels = (f"\x1b[30;48;5;{colour}m {bits} \x1b[0m" for bits, colour in _LEVELS)
        what = "-log2 p(symbol | those before)"
        if not all_of_them.exact:
            what = "reconstruction + KL of each step, whose sum is a bound"
        yield f"Colours, bits and more: {''.join(levels)} {what}\n"


def _has_colours() -> bool:
    """Whether standard output is a terminal that shows colours; https://no-color.org."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and sys.stdout.isatty()


def _coloured(text: str, bits: np.ndarray) -> str:
    """The text on backgrounds by the bits of its symbols."""
    levels = np.searchsorted([low for low, _ in _LEVELS], bits, side="right").tolist()
    spans = itertools.groupby(zip(text, levels, strict=True), key=lambda pair: pair[1])
    return "".join(
        _span("".join(printable(symbol) for symbol, _ in span), level) for level, span in spans
    )


def _span(text: str, level: int) -> str:
    return f"\x1b[30;48;5;{_LEVELS[level - 1][1]}m{text}\x1b[0m" if level else text
