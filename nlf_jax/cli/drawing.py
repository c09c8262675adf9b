"""What a trained model makes: samples, reconstructions, interpolations and continuations.

Everything goes into the folder ``samples`` of the workdir, numbered; texts are printed too.
"""

import contextlib
import dataclasses
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nlf_jax import media
from nlf_jax.cli.flags import scoring_config
from nlf_jax.cli.run import Run, require_same_data
from nlf_jax.data.music.midi_roll import MAX_FRAMES_PER_QUARTER
from nlf_jax.data.music.piano_roll import encode_roll, without_silence
from nlf_jax.data.text.vocabulary import UNKNOWN_ID, Vocabulary
from nlf_jax.errors import UserError
from nlf_jax.files import write_atomically
from nlf_jax.latents import continue_from, interpolate, num_same, reconstruct, right_padded
from nlf_jax.models import SequenceModel
from nlf_jax.sampling import Samples, decoded, sample
from nlf_jax.training import workdir
from nlf_jax.training.config import TrainConfig
from nlf_jax.training.hosts import primary_only
from nlf_jax.training.key_streams import Stream, stream_key

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Trained:
    """A run with its trained model."""

    run: Run
    description: workdir.Description
    config: TrainConfig
    model: SequenceModel

    @classmethod
    def load(cls, run: Run) -> "Trained":
        description, model, _ = run.load_trained()
        print("Compiling; the first use of a shape takes a while ...", flush=True)
        return cls(run, description, scoring_config(description, run.line), model)

    def __post_init__(self) -> None:
        """Refuse another frame length than the model was trained with."""
        given = workdir.FRAME.intersection(self.run.line.given)
        if given and self.run.frame != self.frame:
            trained, wanted = _in_words(self.frame), _in_words(self.run.frame)
            raise UserError(
                f"the model was trained with {trained}, not {wanted}: leave --{min(given)} out."
            )

    @property
    def flags(self) -> dict[str, Any]:
        return self.run.line.values

    @property
    def key(self) -> jax.Array:
        given = self.flags["seed"]
        return stream_key(self.config.seed if given is None else given, Stream.GENERATION)

    @property
    def is_text(self) -> bool:
        return self.config.is_text

    @property
    def greedy_unless_told(self) -> bool:
        return self.flags["greedy"] or "greedy" not in self.run.line.given

    @property
    def frame(self) -> dict[str, Any]:
        return {n: value for n, value in self.description["data"].items() if n in workdir.FRAME}


def draw_samples(run: Run) -> None:
    """``--mode=sample``: shows samples."""
    trained = Trained.load(run)
    names = ("num_samples", "length", "temperature", "greedy")
    flags = {name: trained.flags[name] for name in names}
    samples = sample(trained.model, trained.key, **flags, mesh=run.mesh)
    _show(trained, "sample", decoded(trained.model, samples))


def draw_reconstructions(run: Run) -> None:
    """``--mode=reconstruct``: shows what encoding and decoding makes of sequences."""
    trained = Trained.load(run)
    x, lengths = right_padded(_fitting(trained, _inputs(trained, 1)))
    greedy = trained.greedy_unless_told
    rebuilt = reconstruct(trained.model, x, lengths, trained.key, greedy=greedy, mesh=run.mesh)
    _show(trained, "original", decoded(trained.model, Samples(x, lengths)))
    _show(trained, "reconstruction", decoded(trained.model, rebuilt))
    unit = "symbols" if trained.is_text else "frames"
    print(f"{num_same(x, lengths, rebuilt):,} of {int(lengths.sum()):,} {unit} are the same.")


def draw_interpolation(run: Run) -> None:
    """``--mode=interpolate``: shows the way from one sequence to another."""
    trained = Trained.load(run)
    a, b = _fitting(trained, _exactly(2, _inputs(trained, 2)))
    greedy, num_points = trained.greedy_unless_told, trained.flags["num_samples"]
    points = interpolate(
        trained.model, a, b, trained.key, num_points=num_points, greedy=greedy, mesh=run.mesh
    )
    _show(trained, "interpolation", decoded(trained.model, points))


def draw_continuations(run: Run) -> None:
    """``--mode=continue``: shows sequences that begin with the opening of a given one."""
    trained, flags = Trained.load(run), run.line.values
    opening = _opening(trained)
    samples = continue_from(
        trained.model, opening, trained.key,
        num_samples=flags["num_samples"], length=flags["length"],
        temperature=flags["temperature"], greedy=flags["greedy"],
        num_proposals=flags["num_proposals"], mesh=run.mesh,
    )  # fmt: skip
    _show(trained, "opening", decoded(trained.model, Samples(*right_padded([opening]))))
    _show(trained, "continuation", decoded(trained.model, samples))


def _opening(trained: Trained) -> jax.Array:
    """The first --prefix steps of the input; else all of a given one, half of a row."""
    (whole,) = _exactly(1, _inputs(trained, 1))
    is_row = not (trained.flags["text"] or trained.flags["midi_file"])
    prefix = trained.flags["prefix"] or (-(-len(whole) // 2) if is_row else len(whole))
    if prefix > len(whole):
        raise UserError(f"--prefix={prefix}, but the sequence has {len(whole)} steps.")
    return _fitting(trained, [whole[:prefix]])[0]


def _inputs(trained: Trained, default: int) -> list[jax.Array]:
    """The sequences that the flags give, as the model takes them; else the split's first ones.

    Raises:
        UserError: one does not exist, is empty or does not suit the model.
    """
    flags = trained.flags
    texts, files, rows = flags["text"] or [], flags["midi_file"] or [], flags["row"] or []
    if files if trained.is_text else texts:
        wrong, right = ("--midi_file", "--text") if trained.is_text else ("--text", "--midi_file")
        raise UserError(f"{wrong} does not suit this model: give {right} or --row.")
    if not (texts or files or rows):
        rows = list(range(default))
    if texts and trained.model.vocabulary is None:
        raise UserError("--text does not suit this model, whose symbols are plain ids.")
    found = [_encode(trained.model.vocabulary, text, flags["unseen"]) for text in texts]
    found += [encode_roll(read_roll(path, trained.frame)) for path in files]
    found += _read_rows(trained, rows) if rows else []
    if not all(map(len, found)):
        raise UserError("a given sequence is empty: it must have at least one step.")
    return [jnp.asarray(x) for x in found]


def _encode(vocabulary: Vocabulary, text: str, unseen: str | None) -> np.ndarray:
    ids = vocabulary.encode(text, unseen)
    number = int((vocabulary.encode_known(text) == UNKNOWN_ID).sum())
    if number:
        _logger.warning("--text has %d symbols unseen in training, now %r.", number, unseen)
    return ids


def _fitting(trained: Trained, sequences: list[jax.Array]) -> list[jax.Array]:
    """The sequences, if the model takes so many steps."""
    longest, steps = trained.model.max_length, max(map(len, sequences))
    if steps > longest:
        raise UserError(
            f"a given sequence has {steps} steps, this model takes at most {longest}: shorten it, "
            "or let --mode=continue take its first steps with --prefix."
        )
    return sequences


def _in_words(frame: Mapping[str, Any]) -> str:
    return " and ".join(f"{name}={value}" for name, value in frame.items())


def _timing(frame: Mapping[str, Any]) -> dict[str, Any]:
    """For a score whose frames last so long; if they are given in seconds, at about 100 bpm."""
    if "frame_seconds" not in frame:
        return dict(frame)
    seconds = frame["frame_seconds"]
    frames = min(max(round(0.6 / seconds), 1), MAX_FRAMES_PER_QUARTER)
    return {"frames_per_quarter": frames, "beats_per_minute": 60 / (frames * seconds)}


def read_roll(path: str, frame: Mapping[str, Any]) -> np.ndarray:
    """The piano roll of a MIDI file, bool [T, 88], from its first note to the end of its last."""
    midi = media.read_midi_file(path)
    try:
        roll = media.midi_to_roll(midi, **frame)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    roll = without_silence(roll)
    if not len(roll):
        raise UserError(f"{path} has no notes that the piano has: give another MIDI file.")
    return roll


def _read_rows(trained: Trained, rows: Sequence[int]) -> list[np.ndarray]:
    corpus = trained.run.load_corpus(trained.config, trained.description)
    require_same_data(trained.run.model_source, trained.description, corpus)
    split = trained.flags["split"]
    sequences = corpus.splits[split]
    for row in rows:
        if row >= len(sequences):
            raise UserError(f"--row={row}, but {split} has the rows 0 to {len(sequences) - 1}.")
    return [x if trained.is_text else encode_roll(x) for x in (sequences[row] for row in rows)]


def _exactly(number: int, inputs: list[jax.Array]) -> list[jax.Array]:
    if len(inputs) != number:
        raise UserError(
            f"{len(inputs)} sequences are given, {number} needed: each --text, --midi_file and "
            "--row gives one."
        )
    return inputs


@primary_only
def _show(trained: Trained, kind: str, results: list[Any]) -> None:
    """Prints texts and writes <kind>s-<number>.txt; writes rolls to <kind>-<number>.*."""
    directory = trained.run.workdir / "samples"
    if trained.is_text:
        _show_texts(directory, kind, results)
        return
    for roll in results:
        with _new_name(directory, kind, "mid") as path:
            timing = _timing(trained.frame)
            paths = media.save_sample(directory, roll, name=path.stem, **timing)
        shown, notes = path.stem.replace("-", " "), int(roll.sum())
        print(f"{shown}: {len(roll)} frames, {notes} keys down; {', '.join(map(str, paths))}")


def _show_texts(directory: Path, kind: str, texts: list[str]) -> None:
    label = "" if kind == "sample" else f"{kind} "
    print("\n".join(f"{label}{number}: {text}" for number, text in enumerate(texts, 1)))
    with _new_name(directory, f"{kind}s", "txt") as path:
        write_atomically(path, "".join(f"{text}\n" for text in texts))
    print(f"Written to {path}")


@contextlib.contextmanager
def _new_name(directory: Path, kind: str, suffix: str) -> Iterator[Path]:
    """A file <kind>-<number>.<suffix> that no other process takes; gone if the block fails."""
    directory.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(_next_number(directory, kind)):
        path = directory / f"{kind}-{number}.{suffix}"
        with contextlib.suppress(FileExistsError):
            path.touch(exist_ok=False)
            break
    try:
        yield path
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _next_number(directory: Path, kind: str) -> int:
    """One more than the highest of the files <kind>-<number>.*, so that none is overwritten."""
    numbers = [path.stem.removeprefix(f"{kind}-") for path in directory.glob(f"{kind}-*.*")]
    return max((int(n) for n in numbers if n.isdecimal()), default=0) + 1
