"""The memory of this process, as Linux counts it."""

import ctypes
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def mbytes(field: str) -> float:
    """Of 1,000,000 bytes; ``VmRSS`` is the memory now, ``VmHWM`` the most since ``reset_peak``."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024 / 1e6


def reset_peak() -> None:
    """Makes the process's peak its present memory."""
    _CLEAR.write_text("5")


def give_back_freed() -> None:
    """Hands memory that was freed, for instance after compiling, back to the system.

    glibc keeps it otherwise, and it would be counted as the process's.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
