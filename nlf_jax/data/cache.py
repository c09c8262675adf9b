"""What preparing a data set with TFDS takes: the cache, the download and their failures."""

import contextlib
import fcntl
import io
import os
import pathlib
import queue
import threading
from collections.abc import Generator

import requests
import tensorflow_datasets as tfds
from tensorflow_datasets.core import download

from nlf_jax.errors import UserError
from nlf_jax.files import cache_directory


@contextlib.contextmanager
def locked_cache() -> Generator[pathlib.Path]:
    """The cache directory, NLF_CACHE_DIR or ~/.cache/nlf_jax, for one process at a time.

    Raises:
        UserError: it cannot be made, or the block inside fails with an OSError.
    """
    directory = cache_directory()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with open(directory / "lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield directory
    except OSError as error:
        raise UserError(
            f"Cannot use the cache directory {directory} ({error}); "
            "set NLF_CACHE_DIR to a directory that can be written and has 50 MB free."
        ) from error


def prepare(
    builder: tfds.core.GeneratorBasedBuilder,
    download_dir: pathlib.Path,
    *,
    name: str,
    url: str | None,
    advice: str,
) -> None:
    """Downloads, with registered checksums only, and prepares, without TFDS's output.

    Args:
        name: of the data set, for the message.
        url: an address to try first, as TFDS retries for minutes; None if nothing is downloaded.
        advice: the end of the message, what to do.

    Raises:
        UserError: the download fails.
    """
    if url is not None:
        _check_reachable(url, advice)
    config = tfds.download.DownloadConfig(force_checksums_validation=True, try_download_gcs=False)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare(download_dir=download_dir, download_config=config)
    except (
        requests.RequestException,
        download.util.DownloadError,
        download.download_manager.NonMatchingChecksumError,
    ) as error:
        raise UserError(f"The download of {name} failed: {error}. {advice}") from error
    except RuntimeError as error:
        # What array_record makes of a failed write, with the file's name in it.
        if os.path.dirname(builder.data_dir) not in str(error):
            raise
        raise OSError(str(error).partition(";")[0]) from error


def _check_reachable(url: str, advice: str, seconds: float = 6.0) -> None:
    answer: queue.Queue[str | None] = queue.Queue()

    def ask() -> None:
        try:
            requests.head(url, timeout=seconds / 2).raise_for_status()
            answer.put(None)
        except requests.RequestException as error:
            answer.put(type(error).__name__)

    # A thread, because looking up a name obeys no time-out.
    threading.Thread(target=ask, daemon=True).start()
    try:
        problem = answer.get(timeout=seconds)
    except queue.Empty:
        problem = f"no answer within {seconds:g} s"
    if problem:
        raise UserError(f"{url} cannot be reached ({problem}). {advice}")
