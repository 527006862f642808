"""Takes connections from the one listening socket, in turn with the other processes.

A process that loads takes nothing as long as another one has loaded, nor does one that drains alone. Of those that
stand alike, whoever holds more connections than another stands back for a moment, so that the other one takes what
comes. The kernel alone would give the most to whoever it woke first.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Final

from service.processes.board import Board

logger = logging.getLogger(__name__)

# Enough for another process to be woken and to accept; what nobody took until then is taken here.
STAND_BACK_S: Final = 0.002
# How soon a process looks whether the fitter ones are gone.
LOOK_AGAIN_S: Final = 0.05
# Out of file descriptors: those of replies under way come free.
EXHAUSTED_S: Final = 0.1
TOLD_EVERY_S: Final = 5.0

Connected = Callable[[socket.socket], None]


class Entrance:
    """Hands every connection that this process accepts to `connected`, from `open` until `close`."""

    def __init__(self, listener: socket.socket, board: Board, process: int, connected: Connected) -> None:
        self._listener, self._board, self._process, self._connected = listener, board, process, connected
        self._pause: asyncio.TimerHandle | None = None
        self._stood_back = False
        self._told_s = -TOLD_EVERY_S

    def open(self) -> None:
        """Begin to accept."""
        self._listener.setblocking(False)
        asyncio.get_running_loop().add_reader(self._listener, self._on_waiting)

    def close(self) -> None:
        """Accept no more; the socket stays open."""
        if self._pause:
            self._pause.cancel()
        asyncio.get_running_loop().remove_reader(self._listener)

    def leaves_to_others(self) -> bool:
        """Whether another process is fitter to answer than this one."""
        own = self._board.row(self._process)
        return any(row.standing > own.standing for row in self._board.others(self._process))

    def _on_waiting(self) -> None:
        if self.leaves_to_others():
            self._stand_back(LOOK_AGAIN_S)
            return
        if self._holds_more() and not self._stood_back:
            self._stand_back(STAND_BACK_S)
            return
        self._stood_back = False
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return  # another process was quicker
        except OSError as error:
            self._tell_exhausted(error)
            self._stand_back(EXHAUSTED_S)
            return
        self._connected(connection)

    def _tell_exhausted(self, error: OSError) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._told_s >= TOLD_EVERY_S:
            self._told_s = now_s
            logger.warning("connections cannot be accepted", extra={"reason": str(error)})

    def _holds_more(self) -> bool:
        own = self._board.row(self._process)
        alike = [row for row in self._board.others(self._process) if row.standing == own.standing]
        return any(row.connections < own.connections for row in alike)

    def _stand_back(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listener)
        self._stood_back = True
        self._pause = loop.call_later(seconds, self.open)
