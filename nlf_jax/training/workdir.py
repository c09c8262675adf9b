"""A run's directory: what the run is, and the lock that keeps it to one process."""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import reprlib
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nlf_jax.data.corpus import Corpus
from nlf_jax.data.text.vocabulary import Vocabulary
from nlf_jax.errors import UserError
from nlf_jax.files import read_file, read_json, remove, write_atomically
from nlf_jax.models.config import unread_options
from nlf_jax.options import complete
from nlf_jax.training import hosts
from nlf_jax.training.config import TrainConfig

# Formats from 1 up are read; an older one lacks the options that came ``since``.
FORMAT = 2
CONFIG_FILE = "config.json"
VOCABULARY_FILE = "vocabulary.json"
CHECKPOINTS = "checkpoints"
# Folders that links in a workdir may lead into, as in PATH.
LINKS_VARIABLE = "NLF_LINKS_INTO"
MAX_CONFIG_BYTES, MAX_VOCABULARY_BYTES = 10**6, 32 * 10**6
# What may change between the parts of a run: it does not change what the parts before computed.
MAY_DIFFER = frozenset(
    {"num_epochs", "log_every", "checkpoint_every", "nll_samples", "eval_batch_size"}
)
# Entries of a description's data that say how long a frame of music lasts.
FRAME = frozenset({"frames_per_quarter", "frame_seconds"})
MAX_FRAME = 10_000
_MAX_SHOWN = 20
# As Orbax writes it.
_STEP = re.compile("0|[1-9][0-9]{0,17}")
Description = dict[str, Any]


@contextlib.contextmanager
def lock(workdir: Path) -> Iterator[None]:
    """Holds the workdir for this process; the operating system lets go of it whatever happens.

    Raises:
        UserError: another process holds it, or the directory cannot be made or written.
    """
    path = workdir / "lock"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        # Neither waits for a FIFO nor empties what a link of this name leads to.
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UserError(f"cannot write to the workdir {workdir}: {error.strerror}.") from error
    with open(file, "r+b", buffering=0):
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise UserError(f"{path} is no file: remove it.")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another process trains in {workdir}: wait for it or choose another --workdir."
            ) from error
        except OSError as error:
            raise UserError(f"cannot lock {path}: {error.strerror}.") from error
        yield


def describe(
    experiment: str,
    config: TrainConfig,
    corpus: Corpus,
    *,
    frame: Mapping[str, Any] | None = None,
    source: Mapping[str, Any] | None = None,
) -> Description:
    """What makes a run this run and no other, and where its data came from.

    Args:
        frame: how long a frame of music lasts, as an argument of ``media.midi_to_roll``.
        source: the flags that gave the data; another run may have got the same data elsewhere.
    """
    data = {
        "name": corpus.name,
        "fingerprint": corpus.fingerprint,
        "num_symbols": corpus.num_symbols,
        "max_length": corpus.max_length,
        **(frame or {}),
    }
    if corpus.vocabulary_json is not None:
        data["vocabulary"] = digest_of(corpus.vocabulary_json)
    elif corpus.is_text:
        data["ids"] = True
    parts = {"experiment": experiment, "config": vars(config), "data": data}
    return parts | {"source": dict(source or {})}


def digest_of(vocabulary: str) -> str:
    """SHA-256 of a vocabulary's JSON, in hexadecimal."""
    return hashlib.sha256(vocabulary.encode()).hexdigest()


@contextlib.contextmanager
def held(workdir: Path, description: Description, vocabulary: str | None) -> Iterator[None]:
    """Process 0 locks and claims the workdir, for a run that is the same in all processes.

    Raises:
        UserError: as ``lock`` and ``claim``, in every process.
    """
    hosts.require_same(_compared(description), "the processes were given other data.")
    with contextlib.ExitStack() as held:

        def take() -> None:
            held.enter_context(lock(workdir))
            claim(workdir, description, vocabulary)

        hosts.on_primary(take)
        yield


def claim(workdir: Path, description: Description, vocabulary: str | None) -> None:
    """Writes what the run is into a new workdir, or checks that it is the same run.

    A workdir without a checkpoint, where a run ended before its first, counts as new.

    Args:
        workdir: exists.
        description: JSON object with "experiment", "config" and "data".
        vocabulary: the vocabulary as JSON, None for music.

    Raises:
        UserError: the workdir is of another run (the message shows what differs), it or a file of
            such a name is damaged, or it cannot be written.
    """
    description = json.loads(json.dumps({"format": FORMAT} | description))
    trained = bool(step_numbers(workdir / CHECKPOINTS))
    if not trained or not (workdir / CONFIG_FILE).exists():
        if trained:
            raise UserError(f"{workdir} has checkpoints but no {CONFIG_FILE}: use another workdir.")
        _require_own(workdir)
        remove(workdir / VOCABULARY_FILE)
        if vocabulary is not None:
            write_atomically(workdir / VOCABULARY_FILE, vocabulary)
    else:
        _require_same(workdir, description, vocabulary)
    write_atomically(workdir / CONFIG_FILE, json.dumps(description, indent=2))


def read_description(workdir: Path) -> Description:
    """What ``claim`` wrote.

    Raises:
        UserError: there is no run in the workdir, or its description is damaged.
    """
    path = workdir / CONFIG_FILE
    try:
        description = read_json(path, MAX_CONFIG_BYTES)
    except FileNotFoundError as error:
        raise UserError(f"there is no trained model in {workdir}: train first.") from error
    except ValueError:
        description = None
    return checked_description(description, path)


def checked_description(
    value: Any, path: Path, advice: str = "restore it or train in another workdir"
) -> Description:
    """A JSON value found in a file, if it is what ``describe`` and ``claim`` make.

    Raises:
        UserError: it is something else (``advice`` says what to do), or of a newer version.
    """
    try:
        found = value["format"]
        _check_types(value)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged: {advice}.") from error
    if type(found) is not int or not 1 <= found <= FORMAT:
        raise UserError(
            f"{path} has format {reprlib.repr(found)}, this version of nlf_jax reads up to "
            f"{FORMAT}: install a newer one."
        )
    return value


def _check_types(description: Description) -> None:
    """Raises a TypeError or a KeyError for what ``describe`` would not have written."""
    data, source = description["data"], description.get("source", {})
    kinds = [(description["experiment"], str), (description["config"], dict), (data, dict)]
    kinds += [(source, dict), *((value, str) for value in source.values())]
    kinds += [(data[name], str) for name in {"name", "fingerprint", "vocabulary"} & data.keys()]
    if not all(isinstance(value, kind) for value, kind in kinds):
        raise TypeError
    lengths = [data[name] for name in FRAME & data.keys()]
    if not all(isinstance(value, int | float) and 0 < value < MAX_FRAME for value in lengths):
        raise TypeError


def read_vocabulary(workdir: Path) -> str | None:
    """The vocabulary's JSON, unchecked; None where there is none (music)."""
    path = workdir / VOCABULARY_FILE
    try:
        return read_file(path, MAX_VOCABULARY_BYTES).decode()
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(f"{path} is damaged: it is not UTF-8.") from error


def differences(old: Description, new: Description) -> list[str]:
    """Entries that differ in a way that matters, as ``name: old -> new``."""
    old, new = _flatten(_compared(old)), _flatten(_compared(new))
    names = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    kept = [name for name in names if name.removeprefix("config.") not in MAY_DIFFER]
    return [_short(f"{name}: {old.get(name)} -> {new.get(name)}") for name in kept]


def check_workdir(directory: Path) -> None:
    """Checks that what is written to a workdir, which may be anyone's, lands in it and can be read.

    Raises:
        UserError: its path has something that Orbax takes for a separator or a pattern, or that is
            not UTF-8, or a link in it leads to outside of it and of what ``NLF_LINKS_INTO`` names.
    """
    path = os.path.abspath(directory)
    if re.search(r"[\\\[\]\ud800-\udfff]", path):
        raise UserError(
            f"checkpoints cannot be kept in {path}: use a --workdir without backslashes, square "
            "brackets and what is not UTF-8."
        )
    named = filter(None, os.environ.get(LINKS_VARIABLE, "").split(os.pathsep))
    allowed = [os.path.realpath(each) for each in (directory, *named)]
    for path in _links(directory):
        target = Path(os.path.realpath(path))
        if not any(target.is_relative_to(each) for each in allowed):
            raise UserError(
                f"{path} is a link to outside of the workdir, where nothing is written: put what "
                f"it leads to in its place, or set {LINKS_VARIABLE} to a folder around {target}."
            )


def _links(directory: str | Path) -> Iterator[str]:
    """The links in a directory, and those in directories that they lead to."""
    todo, seen = [os.fspath(directory)], set()
    while todo:
        start = todo.pop()
        if (real := os.path.realpath(start)) in seen:
            continue
        seen.add(real)
        for folder, folders, files in os.walk(start):
            for path in (os.path.join(folder, name) for name in folders + files):
                if os.path.islink(path):
                    yield path
                    todo.append(path)


def step_numbers(directory: Path) -> list[int]:
    """Steps of the checkpoints in a directory, ascending.

    Raises:
        UserError: it cannot be read.
    """
    try:
        if not directory.is_dir():
            return []
        return sorted(
            int(p.name) for p in directory.iterdir() if _STEP.fullmatch(p.name) and p.is_dir()
        )
    except OSError as error:
        raise UserError(f"cannot read {directory}: {error.strerror}.") from error


def _require_own(workdir: Path) -> None:
    """Raises a UserError for files of the names of a run's, in a new workdir, that are no run's."""
    if (workdir / CONFIG_FILE).exists():
        read_description(workdir)
    elif (vocabulary := read_vocabulary(workdir)) is not None:
        try:
            Vocabulary.from_json(vocabulary)
        except UserError as error:
            raise UserError(f"{workdir / VOCABULARY_FILE} is of no run: {error}") from error


def _require_same(workdir: Path, description: Description, vocabulary: str | None) -> None:
    found = differences(_completed(read_description(workdir)), _completed(description))
    if read_vocabulary(workdir) != vocabulary:
        found.append(f"{VOCABULARY_FILE}: another vocabulary, or damaged")
    if found:
        more = "; ..." if len(found) > _MAX_SHOWN else ""
        raise UserError(
            f"{workdir} belongs to another run (there -> here): "
            f"{'; '.join(found[:_MAX_SHOWN])}{more}. "
            "Use another --workdir, or the settings of that run to go on with it."
        )


def _short(text: str, limit: int = 300) -> str:
    return text if len(text) <= limit else f"{text[:limit]}..."


def _completed(description: Description) -> Description:
    config = complete(TrainConfig, description["config"], description["format"])
    read = {name: config[name] for name in config.keys() - unread_options(config)}
    return description | {"config": read, "format": FORMAT}


def _compared(description: Description) -> Description:
    """Without what doesn't make a run another one, or is compared as it is in its own file."""
    data = _without(description.get("data", {}), "vocabulary")
    return _without(description, "source") | {"data": data}


def _without(entries: Mapping[str, Any], left_out: str) -> dict[str, Any]:
    return {name: value for name, value in entries.items() if name != left_out}


def _flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {prefix: tree}
    parts = (_flatten(v, f"{prefix}.{k}" if prefix else str(k)) for k, v in tree.items())
    return {name: value for part in parts for name, value in part.items()}
