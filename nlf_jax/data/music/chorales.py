"""Four-part chorales by J. S. Bach, converted on this machine from the corpus in music21.

These are not the JSB chorales of the literature: other pieces, eighth-note frames, another split.
The licence of music21's corpus restricts passing it on, so nothing made of it is shipped.
"""

import hashlib
import importlib.metadata
import io
import logging
import math
import pathlib
import types
import unicodedata
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from nlf_jax.data.cache import locked_cache
from nlf_jax.data.corpus import SPLITS, Corpus
from nlf_jax.data.music.piano_roll import LOWEST_PITCH, NUM_PITCHES
from nlf_jax.errors import UserError
from nlf_jax.files import write_atomically

if TYPE_CHECKING:
    import music21

FRAMES_PER_QUARTER = 2
NUM_PARTS = 4
_CACHE_VERSION = 1
_logger = logging.getLogger(__name__)


def load_chorales() -> Corpus:
    """The chorales in four parts as bool [T, 88] rolls, one frame per eighth note, in their keys.

    What sounds at the start of a frame is in it. The split, about 80/10/10, is by hash of the
    title: settings of a hymn are together, unless music21 lists them by another title of it or by
    none, as it does some 30. Pieces that repeat another, transposed or not, are left out. The
    conversion takes about half a minute, once; its result is kept in NLF_CACHE_DIR, by default
    ~/.cache/nlf_jax.

    Raises:
        UserError: music21 is not installed or has no such corpus, or the cache cannot be written.
    """
    music21 = _import_music21()
    with locked_cache() as cache_dir:
        version = importlib.metadata.version("music21")
        path = cache_dir / "chorales" / f"v{_CACHE_VERSION}-music21-{version}.npz"
        pieces = _read(path)
        if pieces is None:
            pieces = _convert_corpus(music21)
            _write(path, pieces)
    return _corpus_of(pieces)


def split_of(title: str) -> str:
    """The split of all the pieces with this title, whatever its case, accents and punctuation."""
    percent = int(hashlib.sha256(title_key(title).encode()).hexdigest(), 16) % 100
    return "train" if percent < 80 else "valid" if percent < 90 else "test"


def title_key(title: str) -> str:
    """What equal titles have in common: letters and digits only."""
    return "".join(c for c in unicodedata.normalize("NFKD", title).casefold() if c.isalnum())


def roll_of_score(score: "music21.stream.Score") -> np.ndarray:
    """The bool [T, 88] roll of a music21 score, one frame per eighth note.

    Raises:
        UserError: a note is outside of the piano's 88 keys.
    """
    num_frames = math.ceil(FRAMES_PER_QUARTER * float(score.highestTime))
    roll = np.zeros((num_frames, NUM_PITCHES), np.bool_)
    for note in score.flatten().notes:
        start = float(note.offset)
        frames = slice(_frame_from(start), _frame_from(start + float(note.quarterLength)))
        for pitch in note.pitches:
            if not 0 <= pitch.midi - LOWEST_PITCH < NUM_PITCHES:
                raise UserError(f"{pitch} is not on the piano.")
            roll[frames, pitch.midi - LOWEST_PITCH] = True
    return roll


def _frame_from(quarters: float) -> int:
    """The first frame that starts at this time or later; thirds of an eighth are not exact."""
    return math.ceil(FRAMES_PER_QUARTER * quarters - 1e-6)


def _import_music21() -> types.ModuleType:
    try:
        import music21
    except ImportError as error:
        raise UserError('The chorales need music21: pip install "nlf_jax[music]".') from error
    return music21


def _convert_corpus(music21: types.ModuleType) -> list[tuple[str, np.ndarray]]:
    """Title and roll of every four-part chorale, sorted by file name."""
    paths = sorted(music21.corpus.getComposer("bach", fileExtensions=("mxl",)))
    if not paths:
        raise UserError("This music21 comes without its corpus; install it anew from PyPI.")
    titles = _titles(music21)
    _logger.info("Converting %d scores of music21, once; this takes half a minute.", len(paths))
    pieces = []
    for path in tqdm(paths, desc="Converting chorales", unit="score", disable=None):
        # forceSource, as music21 would otherwise unpickle what it finds in a temporary directory.
        score = music21.converter.parse(path, forceSource=True)
        if len(score.parts) == NUM_PARTS:
            number = path.stem.removeprefix("bwv")
            pieces.append((titles.get(number, f"BWV {number}"), roll_of_score(score)))
    return _without_repeats(pieces)


def _titles(music21: types.ModuleType) -> dict[str, str]:
    """Title by BWV number, as far as music21's lists go."""
    chorales = music21.corpus.chorales
    lists = (chorales.ChoraleList(), chorales.ChoraleListRKBWV())
    return {str(n): row["title"] for numbers in lists for n, row in numbers.byBWV.items()}


def _without_repeats(pieces: list[tuple[str, np.ndarray]]) -> list[tuple[str, np.ndarray]]:
    first = {}
    for title, roll in pieces:
        first.setdefault(_relative_content(roll), (title, roll))
    return list(first.values())


def _relative_content(roll: np.ndarray) -> bytes:
    """Equal for transposed copies of a piece."""
    keys = np.flatnonzero(roll.any(axis=0))
    return roll[:, keys[0] : keys[-1] + 1].tobytes() if keys.size else b""


def _corpus_of(pieces: list[tuple[str, np.ndarray]]) -> Corpus:
    splits: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
    for title, roll in pieces:
        splits[split_of(title)].append(roll)
    max_length = max(len(roll) for _, roll in pieces)
    return Corpus.create("bach", splits, vocabulary=None, max_length=max_length)


def _write(path: pathlib.Path, pieces: list[tuple[str, np.ndarray]]) -> None:
    titles, rolls = zip(*pieces, strict=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    np.savez_compressed(
        content,
        titles=np.array(titles, np.str_),
        lengths=np.array([len(roll) for roll in rolls], np.int64),
        frames=np.packbits(np.concatenate(rolls), axis=1),
    )
    write_atomically(path, content.getvalue())


def _read(path: pathlib.Path) -> list[tuple[str, np.ndarray]] | None:
    """The converted pieces; None if there are none or they are not whole."""
    if not path.is_file():
        return None
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            titles, lengths = arrays["titles"].tolist(), arrays["lengths"]
            frames = np.unpackbits(arrays["frames"], axis=1, count=NUM_PITCHES).astype(np.bool_)
    except Exception as error:  # Whatever is wrong with a cache, the cure is to convert anew.
        _logger.warning("Converting the chorales anew, %s is damaged: %s", path, error)
        return None
    rolls = np.split(frames, np.cumsum(lengths)[:-1])
    return list(zip(titles, rolls, strict=True))
