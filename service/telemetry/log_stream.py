"""Where events are written, so that a reader who stops reading does not stop who writes.

A log driver that hangs, or a pipe into a program that waits, holds up every write once its buffer is full; in a service
that is the event loop, health and all.
"""

import logging
import select
import time
from typing import Final, TextIO

WAIT_S: Final = 0.5
"""So long events wait for room, all together, before they are lost until there is some."""
WAIT_SHARE: Final = 0.05
"""What has been waited comes back with time: a reader who is slow for ever costs this share of it."""
# Of bytes, what is ready takes as many at least without waiting; a character has up to four.
_PIECE: Final = select.PIPE_BUF // 4


class LosingHandler(logging.StreamHandler[TextIO]):
    """Writes events to a stream while somebody reads them; tells how many were lost once somebody does again."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lost = 0
        self._is_cut = False
        self._left_s, self._asked_s = WAIT_S, time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        """Write an event, or lose it."""
        try:
            if not self._lost or self._write(self._about_lost()):
                self._write(record)
        except RecursionError:
            raise
        except Exception:  # noqa: BLE001 - as logging's own handlers do
            self.handleError(record)

    def _about_lost(self) -> logging.LogRecord:
        told = logging.LogRecord(__name__, logging.WARNING, __file__, 0, "events were lost, nobody read them", (), None)
        told.events = self._lost
        return told

    def _write(self, record: logging.LogRecord) -> bool:
        text = ("\n" if self._is_cut else "") + self.format(record) + self.terminator
        for start in range(0, len(text), _PIECE):
            if not self._has_room():
                self._lost, self._is_cut = self._lost + 1, self._is_cut or start > 0
                return False
            self.stream.write(text[start : start + _PIECE])
            self.flush()
        self._lost, self._is_cut = 0, False
        return True

    def _has_room(self) -> bool:
        """Whether a piece can be written now; where that cannot be asked, it is tried."""
        try:
            asked = select.poll()
            asked.register(self.stream.fileno(), select.POLLOUT)
        except (OSError, ValueError, AttributeError):
            return True
        return bool(asked.poll(0)) or (not self._lost and self._waited(asked))

    def _waited(self, asked: select.poll) -> bool:
        began_s = time.monotonic()
        self._left_s = min(WAIT_S, self._left_s + WAIT_SHARE * (began_s - self._asked_s))
        ready = bool(asked.poll(1000 * self._left_s))
        self._asked_s = time.monotonic()
        self._left_s = max(0.0, self._left_s - (self._asked_s - began_s))  # poll takes less than 0 for "for ever"
        return ready
