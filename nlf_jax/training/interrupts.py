"""Ctrl-C and SIGTERM, noted and not obeyed at once."""

import signal
from types import FrameType
from typing import Any


class StopSignal:
    """Notes SIGINT and SIGTERM while it is entered; a second one has its usual effect."""

    def __init__(self):
        self.name: str | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopSignal":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *unused: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def __bool__(self) -> bool:
        return self.name is not None

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.name = signal.Signals(number).name
        for each, handler in self._previous.items():
            signal.signal(each, handler)
