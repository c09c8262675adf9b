"""What reads bytes that nobody has checked, and small valid inputs to start from."""

import dataclasses
import io
import json
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from nlf_jax.cli import flags, options
from nlf_jax.data.music.mat_file import KEYS, read_rolls
from nlf_jax.data.music.midi_events import read_midi_file
from nlf_jax.data.music.midi_roll import midi_to_roll, roll_to_midi
from nlf_jax.data.text.corpora import load_text_file
from nlf_jax.data.text.vocabulary import Vocabulary
from nlf_jax.errors import UserError
from nlf_jax.files import read_json, read_rows
from nlf_jax.models.config import MODELS
from nlf_jax.training import metrics, workdir
from nlf_jax.training.arrays import Arrays, from_arrays, shapes_of
from nlf_jax.training.checkpoint_reading import Shapes
from nlf_jax.training.checkpoints import BEST_FILE, read_best_step
from nlf_jax.training.model_file import Loaded, read_model_file, write_model_file
from nlf_jax.training.progress import HostState
from nlf_jax.training.schedules import Plateau
from nlf_jax.training.template import model_template

_FLAGS = {"text_file": "Text."}
_VOCABULARY = Vocabulary.from_lines(["ab"]).to_json()
_MAT_HEADER = 128
# After a chunk of another kind, the pedal goes down, a note sounds, all are let go, the pedal comes
# up; then an empty track.
_PEDALLED = (
    b"MThd\0\0\0\x06\0\1\0\2\1\xe0XFIH\0\0\0\1aMTrk\0\0\0\x14\0\xb0\x40\x7f\0\x90\x48\x40"
    b"\x83\x60\xb0\x7b\0\x60\x40\0\0\xff\x2f\0MTrk\0\0\0\4\0\xff\x2f\0"
)
_MIDI_WORDS = (
    "MThd", "MTrk", "RIFF", "RMIDdata", "\udcff\x51\x03", "\udcff\x2f", "\udcb0\x40\x7f",
    "\udcb0\x78", "\udcb0\x79", "\udcb0\x7b", "\udcf4",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        read: takes bytes and a directory for files; raises UserError if it refuses them.
        seeds: valid inputs.
        words: what valid inputs are made of.
        cost: how many times longer an input takes than others do; it gets so many fewer.
    """

    read: Callable[[bytes, Path], object]
    seeds: Callable[[], list[bytes]]
    words: tuple[str, ...] = ()
    cost: int = 1

    def accepts(self, content: bytes, directory: Path) -> bool:
        """Reads; False if that is refused."""
        try:
            self.read(content, directory)
        except UserError:
            return False
        return True


def _read_text(content: bytes, directory: Path) -> None:
    path, odd = _file(directory / "input.txt", content), len(content) % 2 == 1
    corpus = load_text_file(path, max_length=40, windows=odd, unique=odd)
    assert all(all(map(len, rows)) and rows for rows in corpus.splits.values())


def _text_seeds() -> list[bytes]:
    lines = [f"line {n} é 漢 😀" for n in range(25)]
    return ["\n".join(lines).encode(), "\r\n".join(lines).encode("utf-8-sig")]


def _read_mat(content: bytes, directory: Path) -> None:
    """The first byte decides on compressed variables, which no change would survive."""
    plain = content[1:]
    read_rolls(_compressed(plain) if content[:1] > b"\x7f" else plain, "input.mat")


def _compressed(content: bytes) -> bytes:
    parts, position = [content[:_MAT_HEADER]], _MAT_HEADER
    while position < len(content):
        end = position + 8 + int.from_bytes(content[position + 4 : position + 8], "little")
        packed = zlib.compress(content[position:end], 1)
        parts.append(struct.pack("<II", 15, len(packed)) + packed)
        position = end
    return b"".join(parts)


def _mat_seeds() -> list[bytes]:
    seeds = []
    for dtype in (np.uint8, np.int16, np.bool_):
        cells = np.empty((1, 2), object)
        cells[0, :] = [np.eye(2, 88, k, dtype) for k in range(2)]
        buffer = io.BytesIO()
        scipy.io.savemat(buffer, dict.fromkeys(KEYS.values(), cells))
        seeds += [first + buffer.getvalue() for first in (b"\x00", b"\xff")]
    return seeds


def _read_midi(content: bytes, directory: Path) -> None:
    midi = read_midi_file(_file(directory / "input.mid", content))
    for frame_seconds in (None, 0.05):
        roll = midi_to_roll(midi, frame_seconds=frame_seconds)
        assert roll.dtype == np.bool_
        assert roll.shape[1] == 88


def _midi_seeds() -> list[bytes]:
    seeds = []
    for kind, tempo in ((0, 4.0), (1, 1000.0)):
        buffer, midi = io.BytesIO(), roll_to_midi(np.eye(8, 88, 40, bool), beats_per_minute=tempo)
        midi.type = kind
        midi.save(file=buffer)
        seeds.append(buffer.getvalue())
    return [*seeds, _wrapped(_PEDALLED), _PEDALLED]


def _wrapped(midi: bytes) -> bytes:
    data = b"RMIDdata" + struct.pack("<I", len(midi)) + midi
    return b"RIFF" + struct.pack("<I", len(data)) + data


def _read_config(content: bytes, directory: Path) -> None:
    """The description of a trained run, as scoring and sampling read it."""
    _file(directory / workdir.CONFIG_FILE, content)
    description = workdir.read_description(directory)
    flags.scoring_config(description, flags.parse([], _FLAGS))


def _config_seeds() -> list[bytes]:
    configs = [options.get_config("text", model, "tiny") for model in ("lstm", "af_scf")]
    description = {"format": workdir.FORMAT, "experiment": "text", "data": {}}
    return [json.dumps(description | {"config": vars(config)}).encode() for config in configs]


def _read_flags(content: bytes, directory: Path) -> None:
    """A command line, one argument a line, with NUL left out as no process can be given it."""
    arguments = content.replace(b"\0", b"").decode("utf-8", "surrogateescape").split("\n")
    line = flags.parse(arguments, _FLAGS)
    if line.values["help"]:
        flags.help_text("text", "", _FLAGS, line)
    else:
        flags.training_config("text", line)


def _flags_seeds() -> list[bytes]:
    lines = [
        ["--mode=train", "--model=lstm", "--size=tiny", "--workdir=w", "--text_file=t", "--mesh=1"],
        ["--mode=sample", "--length=3", "--temperature=0.5", "--greedy", "--text=a", "--row=0"],
        ["--config.hidden=8", "--config.embedding", "8", "--config.tied=false", "--noh"],
        ["--config.learning_rate=1e-3", "--config.buckets=4,8", "--config.optimizer=sgd"],
    ]
    return ["\n".join(line).encode() for line in lines]


def _read_vocabulary(content: bytes, directory: Path) -> None:
    """The vocabulary of a trained run."""
    _file(directory / workdir.VOCABULARY_FILE, content)
    vocabulary = Vocabulary.from_json(workdir.read_vocabulary(directory) or "")
    text = "".join(vocabulary.symbols)
    assert vocabulary.decode(vocabulary.encode(text)[None], np.array([len(text)])) == [text]


def _vocabulary_seeds() -> list[bytes]:
    texts = ["abc", "\t é漢😀"]
    return [Vocabulary.from_lines([text]).to_json().encode() for text in texts]


def _read_model(content: bytes, directory: Path) -> None:
    """A run's config and, after a NUL, its vocabulary, up to the shapes of the model."""
    config, _, symbols = content.partition(b"\0")
    _file(directory / workdir.CONFIG_FILE, config)
    _file(directory / workdir.VOCABULARY_FILE, symbols)
    description = workdir.read_description(directory)
    template = model_template(
        description, workdir.read_vocabulary(directory), config_in="c", vocabulary_in="v"
    )
    assert len(template.length_log_prob) == description["data"]["max_length"] + 1


def _model_seeds() -> list[bytes]:
    return [f"{json.dumps(each)}\0{_VOCABULARY}".encode() for each in _descriptions(MODELS)]


def _descriptions(models: Iterable[str]) -> Iterator[workdir.Description]:
    """Of the smallest models, as they are read from a file."""
    data = {"num_symbols": len(Vocabulary.from_json(_VOCABULARY)), "max_length": 5}
    description = {"format": workdir.FORMAT, "experiment": "text", "data": data}
    tiny: dict[str, Any] = {"hidden": 2, "embedding": 2, "latent": 2, "flow_hidden": 2}
    for model in models:
        config = options.get_config("text", model, "tiny", **tiny)
        yield json.loads(json.dumps(description | {"config": vars(config)}))


def _read_model_file(content: bytes, directory: Path) -> None:
    """A model's file, whose header's size few changes would leave right.

    After a first byte up to 127 come the header, a NUL and the arrays, after any other the file.
    """
    is_whole, content = content[:1] > b"\x7f", content[1:]
    header, _, arrays = content.partition(b"\0")
    file = content if is_whole else struct.pack("<Q", len(header)) + header + arrays
    loaded = read_model_file(_file(directory / "model.safetensors", file))
    again = directory / "again.safetensors"
    write_model_file(again, loaded, "1")
    assert read_model_file(again).steps == loaded.steps


def _model_file_seeds() -> list[bytes]:
    """Of the models whose files are small enough."""
    with tempfile.TemporaryDirectory() as directory:
        path, seeds = Path(directory) / "model.safetensors", []
        for description in _descriptions(("lstm", "gated", "af_codebook")):
            model = model_template(description, _VOCABULARY, config_in="c", vocabulary_in="v")
            loaded = Loaded(description, from_arrays(model, _values(shapes_of(model))), 3)
            write_model_file(path, loaded, "1")
            whole = path.read_bytes()
            header = whole[8 : 8 + int.from_bytes(whole[:8], "little")]
            seeds += [b"\0" + header + b"\0" + whole[8 + len(header) :], b"\xff" + whole]
    return seeds


def _values(shapes: Shapes) -> Arrays:
    """Parameters of zero, and lengths that are all as probable."""
    arrays = {name: np.zeros(shape.shape, shape.dtype) for name, shape in shapes.items()}
    lengths = arrays["length_log_prob"]
    return arrays | {"length_log_prob": np.full_like(lengths, -np.log(len(lengths)))}


def _read_metrics(content: bytes, directory: Path) -> None:
    """The metrics of a run that is gone on with; what is kept is kept again."""
    path = _file(directory / metrics.FILE_NAME, content)
    metrics.keep_rows(path, lambda row: row["step"] <= 4)
    kept = path.read_bytes()
    metrics.keep_rows(path, lambda row: True)
    assert path.read_bytes() == kept
    assert all(row["step"] <= 4 for row in read_rows(path))


def _metrics_seeds() -> list[bytes]:
    rows = [{"split": "train", "step": step, "epoch": 0, "loss": 1.5} for step in (2, 4, 6)]
    return [b"\n".join(json.dumps(row).encode() for row in rows)]


def _read_best(content: bytes, directory: Path) -> None:
    """Which checkpoint is the best, and how far a run was; a warning counts as a refusal."""
    path = _file(directory / BEST_FILE, content)
    if read_best_step(directory) is None:
        try:
            HostState.from_json(read_json(path, len(content)))
        except ValueError as error:
            raise UserError(str(error)) from error


def _best_seeds() -> list[bytes]:
    host = HostState(Plateau(0.1, 2.0, 1), 3, 40, 5.5).to_json()
    return [json.dumps(value).encode() for value in ({"step": 3, "valid_loss": 0.5}, host)]


def _file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


_FLAG_WORDS = ("--", "--no", "--config.", "=", "--flagfile=", "--undefok=", "--text", "--prefix")
_OPTION_WORDS = tuple(options.OPTIONS)
_VALUES = ("NaN", "Infinity", "-1", "1e999", "null", "true", "[]", "{}", *MODELS)
_FILE_WORDS = (
    "F32",
    "BF16",
    "shape",
    "data_offsets",
    "__metadata__",
    "config",
    "18446744073709551615",
)
TARGETS = {
    "text": Target(_read_text, _text_seeds, ("\ufeff", "\r\n", "\u2028", "\x85", "\udcff")),
    "mat": Target(_read_mat, _mat_seeds, tuple(KEYS.values())),
    "midi": Target(_read_midi, _midi_seeds, _MIDI_WORDS),
    "config": Target(_read_config, _config_seeds, _OPTION_WORDS + _VALUES),
    "flags": Target(_read_flags, _flags_seeds, _FLAG_WORDS + _OPTION_WORDS + _VALUES),
    "model": Target(_read_model, _model_seeds, _OPTION_WORDS + _VALUES, cost=20),
    "model_file": Target(_read_model_file, _model_file_seeds, _FILE_WORDS + _VALUES, cost=20),
    "metrics": Target(_read_metrics, _metrics_seeds, ("split", "valid", "step", "epoch", *_VALUES)),
    "best": Target(_read_best, _best_seeds, ("step", "plateau", "best_step", *_VALUES)),
    "vocabulary": Target(_read_vocabulary, _vocabulary_seeds, ("symbols", "\\ud800", *_VALUES)),
}
