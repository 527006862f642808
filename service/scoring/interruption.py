"""Ctrl-C while rows are written: it takes effect between two rows and never inside one."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self


class Interruption:
    """A context in which `held_back` puts KeyboardInterrupt off to the end of its block; a second one gets through."""

    def __init__(self) -> None:
        self._held_back, self._wanted = False, False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._before)

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Raises KeyboardInterrupt at the end of the block where one came inside it."""
        self._held_back = True
        try:
            yield
        finally:
            self._held_back = False
        if self._wanted:
            raise KeyboardInterrupt

    def _interrupt(self, *_: Any) -> None:
        if not self._held_back or self._wanted:
            raise KeyboardInterrupt
        self._wanted = True
