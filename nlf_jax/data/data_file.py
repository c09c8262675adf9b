"""Opening a user's data file, which may be anything."""

import contextlib
import io
import os
import stat
from collections.abc import Iterator

from nlf_jax.errors import UserError
from nlf_jax.files import open_at_once

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


@contextlib.contextmanager
def open_data_file(path: str | os.PathLike) -> Iterator[io.BufferedReader]:
    """Opens a file of data for reading; nothing is waited for.

    Raises:
        UserError: it cannot be read, is a pipe, a device or a directory, or is the pointer that
            Git LFS keeps in its place.
    """
    try:
        with open(os.path.expanduser(path), "rb", opener=open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UserError(f"Cannot read {path}: it is a pipe or a device; give a file.")
            if file.peek(len(_LFS_POINTER)).startswith(_LFS_POINTER):
                raise UserError(
                    f"{path} is a Git LFS pointer and not the data: fetch them with `git lfs pull`."
                )
            yield file
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from error
