"""What reads bytes that nobody has checked, and small valid inputs to start from."""

import dataclasses
import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.io

from nlf_jax.cli import flags, options
from nlf_jax.data.music.mat_file import KEYS, read_rolls
from nlf_jax.data.music.midi_events import read_midi_file
from nlf_jax.data.music.midi_roll import midi_to_roll, roll_to_midi
from nlf_jax.data.text.corpora import load_text_file
from nlf_jax.data.text.vocabulary import Vocabulary
from nlf_jax.errors import UserError
from nlf_jax.models.config import MODELS
from nlf_jax.training import workdir

_FLAGS = {"text_file": "Text."}
_MAT_HEADER = 128


@dataclasses.dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        read: takes bytes and a directory for files; raises UserError if it refuses them.
        seeds: valid inputs.
        words: what valid inputs are made of.
    """

    read: Callable[[bytes, Path], object]
    seeds: Callable[[], list[bytes]]
    words: tuple[str, ...] = ()

    def accepts(self, content: bytes, directory: Path) -> bool:
        """Reads; False if that is refused."""
        try:
            self.read(content, directory)
        except UserError:
            return False
        return True


def _read_text(content: bytes, directory: Path) -> None:
    corpus = load_text_file(_file(directory / "input.txt", content), max_length=40)
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
    return seeds


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
    texts = ["abc", "\0 é漢😀"]
    return [Vocabulary.from_lines([text]).to_json().encode() for text in texts]


def _file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


_FLAG_WORDS = ("--", "--no", "--config.", "=", "--flagfile=", "--undefok=", "--text", "--prefix")
_OPTION_WORDS = tuple(options.OPTIONS)
_VALUES = ("NaN", "Infinity", "-1", "1e999", "null", "true", "[]", "{}", *MODELS)
TARGETS = {
    "text": Target(_read_text, _text_seeds, ("\ufeff", "\r\n", "\u2028", "\x85", "\udcff")),
    "mat": Target(_read_mat, _mat_seeds, tuple(KEYS.values())),
    "midi": Target(_read_midi, _midi_seeds, ("MThd", "MTrk", "\udcff\x51\x03", "\udcff\x2f")),
    "config": Target(_read_config, _config_seeds, _OPTION_WORDS + _VALUES),
    "flags": Target(_read_flags, _flags_seeds, _FLAG_WORDS + _OPTION_WORDS + _VALUES),
    "vocabulary": Target(_read_vocabulary, _vocabulary_seeds, ("symbols", "\\ud800", *_VALUES)),
}
