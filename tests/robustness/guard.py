"""Notes what code that reads what others made must never do: write elsewhere, run code, connect."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_RUNS_CODE = {
    "compile", "ctypes.dlopen", "exec", "marshal.load", "marshal.loads", "os.exec", "os.fork",
    "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "pickle.find_class",
    "socket.connect", "socket.getaddrinfo", "subprocess.Popen",
}  # fmt: skip
_WRITES = {
    "os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir",
    "os.symlink", "os.truncate", "os.utime",
}  # fmt: skip
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Guard:
    """Sees what Python code does from now on, by an audit hook, which cannot be removed.

    Attributes:
        offences: what was done that must not be.
    """

    def __init__(self) -> None:
        self.offences: list[str] = []
        self._allowed: tuple[str, ...] | None = None
        self._may_run_code = False
        sys.addaudithook(self._note)

    @contextmanager
    def watch(self, *allowed: Path, may_run_code: bool = False) -> Iterator[None]:
        """Notes offences inside.

        Args:
            allowed: directories in which everything may be written.
            may_run_code: whether code may be run, as an import does.
        """
        self._allowed = tuple(os.path.realpath(path) for path in allowed)
        self._may_run_code = may_run_code
        try:
            yield
        finally:
            self._allowed = None

    def _note(self, event: str, args: tuple[Any, ...]) -> None:
        if self._allowed is None:
            return
        if event in _RUNS_CODE and not self._may_run_code:
            self.offences.append(f"{event} {args!r:.200}")
        for path in _written(event, args):
            if not self._is_allowed(path):
                self.offences.append(f"{event} of {path!r}")

    def _is_allowed(self, path: Any) -> bool:
        if isinstance(path, int) or path == os.devnull:
            return True
        real = os.path.realpath(os.fsdecode(path))
        return any(
            os.path.commonpath([real, allowed]) == allowed for allowed in self._allowed or ()
        )


def _written(event: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The paths that an event writes to."""
    if event == "open":
        return args[:1] if args[2] & _WRITE_FLAGS else ()
    if event in _WRITES:
        return tuple(path for path in args[:2] if isinstance(path, str | bytes | os.PathLike))
    return ()
