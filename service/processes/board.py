"""Shared memory in which every process writes what the others need to know: is it ready, how busy is it.

A process writes its own row only, each cell is one aligned machine word, and what is read may be a moment old.
"""

import mmap
from dataclasses import dataclass
from typing import Final

_CELL_BYTES: Final = 8
_READY, _CONNECTIONS, _CELLS = range(3)


@dataclass(frozen=True, slots=True)
class Row:
    """One process: whether it wants traffic, and how many connections it holds."""

    ready: bool
    connections: int


class Board:
    """A row for each of `processes` processes, in memory that children inherit."""

    def __init__(self, processes: int) -> None:
        self._memory = mmap.mmap(-1, processes * _CELLS * _CELL_BYTES)
        self._cells = memoryview(self._memory).cast("q")
        self.processes = processes

    def row(self, process: int) -> Row:
        """What a process has written last."""
        first = process * _CELLS
        return Row(bool(self._cells[first + _READY]), self._cells[first + _CONNECTIONS])

    def others(self, process: int) -> list[Row]:
        """The rows of all processes but one."""
        return [self.row(other) for other in range(self.processes) if other != process]

    def write_ready(self, process: int, ready: bool) -> None:
        """Say whether a process wants traffic."""
        self._cells[process * _CELLS + _READY] = int(ready)

    def write_connections(self, process: int, connections: int) -> None:
        """Say how many connections a process holds."""
        self._cells[process * _CELLS + _CONNECTIONS] = connections

    def clear(self, process: int) -> None:
        """Forget a process that is gone."""
        self.write_ready(process, False)
        self.write_connections(process, 0)


class CountedConnections(set[object]):
    """uvicorn's set of open connections, its size kept on the board."""

    def __init__(self, board: Board, process: int) -> None:
        super().__init__()
        self._board, self._process = board, process

    def add(self, connection: object) -> None:
        """A connection opens."""
        super().add(connection)
        self._board.write_connections(self._process, len(self))

    def discard(self, connection: object) -> None:
        """A connection is over."""
        super().discard(connection)
        self._board.write_connections(self._process, len(self))
