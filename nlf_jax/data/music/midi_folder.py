"""A corpus from a folder of MIDI files, with a report of what was read and what was refused."""

import dataclasses
import hashlib
import os

import numpy as np

from nlf_jax.data.corpus import Corpus
from nlf_jax.data.music.midi_events import parse_midi, read_midi_bytes
from nlf_jax.data.music.midi_notes import read_notes
from nlf_jax.data.music.midi_roll import check_frame_length, notes_to_roll
from nlf_jax.data.music.piano_roll import without_silence
from nlf_jax.errors import UserError, printable

MIN_PIECES = 3
MAX_TOTAL_FRAMES = 10_000_000
_SUFFIXES = (".mid", ".midi", ".kar", ".rmi")


@dataclasses.dataclass(frozen=True)
class MidiReport:
    """What became of each file, in the order of their names.

    Attributes:
        read: a line of text by file: its frames, the notes of it that were left out, its damage.
        damaged: by file, of those that were read, what was wrong with it and how often.
        refused: the reason by file.
    """

    read: dict[str, str] = dataclasses.field(default_factory=dict)
    damaged: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    refused: dict[str, str] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        damaged = f" ({len(self.damaged)} of them damaged)" if self.damaged else ""
        lines = [f"Read {len(self.read)} MIDI files{damaged}, refused {len(self.refused)}."]
        lines += [f"  read     {name}: {text}" for name, text in self.read.items()]
        lines += [f"  refused  {name}: {reason}" for name, reason in self.refused.items()]
        return "\n".join(lines)


def load_midi_folder(
    midi_dir: str | os.PathLike,
    *,
    frames_per_quarter: int = 4,
    frame_seconds: float | None = None,
    max_length: int = 1024,
) -> tuple[Corpus, MidiReport]:
    """The MIDI files in a folder and the folders in it, as bool [T, 88] rolls.

    A piece is read if its notes can be, and what was damaged in its file is in the report.
    Silence before and after the music is removed. A piece of more than ``max_length`` frames is cut
    into parts of equal length; a piece that is there twice is read once. About a tenth of the
    pieces is for validation and a tenth for testing, at least one each, by hash of their content.

    Args:
        midi_dir: the folder; files that end in .mid, .midi, .kar or .rmi are read.
        frames_per_quarter: frames in a quarter note, 1..64.
        frame_seconds: if given, frames last this long instead, by the tempo changes in the file.
        max_length: of a sequence in frames.

    Returns:
        The corpus, and the report of every file.

    Raises:
        UserError: there is no such folder, fewer than 3 different pieces in it can be read, there
            are more than 10 million frames in all, or an argument is out of range.
    """
    check_frame_length(frames_per_quarter, frame_seconds)
    if max_length < 1:
        raise UserError(f"max_length must be at least 1, got {max_length}.")
    midi_dir = os.path.expanduser(midi_dir)
    pieces: dict[bytes, np.ndarray] = {}
    report = MidiReport()
    for path in midi_paths(midi_dir):
        name = printable(os.path.relpath(path, midi_dir))
        try:
            text, damage = _add_piece(pieces, path, frames_per_quarter, frame_seconds)
            report.read[name] = text
            if damage:
                report.damaged[name] = damage
        except UserError as error:
            report.refused[name] = printable(str(error))
        _check_total(pieces, midi_dir)
    _check_enough(pieces, midi_dir, report)
    name = os.path.basename(os.path.abspath(midi_dir))
    return _corpus_of(name, pieces, max_length), report


def midi_paths(midi_dir: str | os.PathLike) -> list[str]:
    """The MIDI files in a folder and the folders in it, sorted.

    Raises:
        UserError: there is no such folder, or no such file in it.
    """
    if not os.path.isdir(midi_dir):
        raise UserError(f"{midi_dir} is not a folder; give a folder with MIDI files.")
    try:
        paths = [
            os.path.join(directory, name)
            for directory, _, names in os.walk(midi_dir)
            for name in names
            if name.lower().endswith(_SUFFIXES)
        ]
    except RecursionError as error:
        raise UserError(f"{midi_dir} has hundreds of folders in each other.") from error
    if not paths:
        suffixes = " or ".join(_SUFFIXES)
        raise UserError(f"{midi_dir} has no files that end in {suffixes}; give another folder.")
    return sorted(paths)


def _add_piece(
    pieces: dict[bytes, np.ndarray],
    path: str,
    frames_per_quarter: int,
    frame_seconds: float | None,
) -> tuple[str, dict[str, int]]:
    """Adds what a file holds to the pieces by content.

    Returns:
        The report's line, and the damage of the file.
    """
    if not os.path.isfile(path):
        raise UserError("It is not a file.")
    midi = parse_midi(read_midi_bytes(path))
    notes = read_notes(midi)
    left_out = _listed("left out", notes.left_out)
    roll = without_silence(notes_to_roll(midi, notes, frames_per_quarter, frame_seconds))
    if not len(roll):
        raise UserError(f"It has no notes to use{left_out}.")
    digest = hashlib.sha256(roll.tobytes()).digest()
    if digest in pieces:
        raise UserError("It holds the same music as a file before it.")
    pieces[digest] = roll
    damaged = _listed("damaged", midi.damage)
    return f"{len(roll)} frames, {len(notes.pitch)} notes{left_out}{damaged}", midi.damage


def _listed(what: str, counts: dict[str, int]) -> str:
    items = ", ".join(f"{number} x {name}" for name, number in counts.items())
    return f"; {what}: {items}" if items else ""


def _check_total(pieces: dict[bytes, np.ndarray], midi_dir: str | os.PathLike) -> None:
    if sum(map(len, pieces.values())) > MAX_TOTAL_FRAMES:
        raise UserError(
            f"{midi_dir} has more than {MAX_TOTAL_FRAMES:,} frames of music; "
            "choose longer frames or fewer files."
        )


def _check_enough(
    pieces: dict[bytes, np.ndarray], midi_dir: str | os.PathLike, report: MidiReport
) -> None:
    if len(pieces) < MIN_PIECES:
        refused = [f"{name}: {reason}" for name, reason in report.refused.items()]
        example = f" Refused {len(refused)} files, for instance {refused[0]}" if refused else ""
        raise UserError(
            f"{midi_dir} has {len(pieces)} pieces to use: add files, as at least {MIN_PIECES} "
            f"different ones are needed for training, validation and testing.{example}"
        )


def _corpus_of(name: str, pieces: dict[bytes, np.ndarray], max_length: int) -> Corpus:
    """Ranks the pieces by hash, so that the split does not depend on the names of the files."""
    rolls = [pieces[digest] for digest in sorted(pieces)]
    num_held_out = max(1, len(rolls) // 10)
    valid, test, train = np.split(np.arange(len(rolls)), [num_held_out, 2 * num_held_out])
    parts = {
        split: [part for number in numbers for part in _cut(rolls[number], max_length)]
        for split, numbers in {"train": train, "valid": valid, "test": test}.items()
    }
    longest = max(len(part) for split in parts.values() for part in split)
    return Corpus.create(name, parts, vocabulary=None, max_length=longest)


def _cut(roll: np.ndarray, max_length: int) -> list[np.ndarray]:
    return np.array_split(roll, -(-len(roll) // max_length))
