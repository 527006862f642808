"""Shared memory in which every process writes what the others need to know: how it stands, how busy it is.

A process writes its own row only, each cell is one aligned machine word, and what is read may be a moment old.
"""

import mmap
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

_CELL_BYTES: Final = 8
_STANDING, _CONNECTIONS, _BEATS, _CELLS = range(4)


class Standing(IntEnum):
    """How fit a process is to answer: the highest of all takes what comes."""

    LOADING = 0
    DRAINING = 1
    READY = 2


@dataclass(frozen=True, slots=True)
class Row:
    """One process: how it stands, how many connections it holds, and how often it has said that it lives."""

    standing: Standing
    connections: int
    beats: int = 0


class Board:
    """A row for each of `processes` processes, in memory that children inherit."""

    def __init__(self, processes: int) -> None:
        self._memory = mmap.mmap(-1, processes * _CELLS * _CELL_BYTES)
        self._cells = memoryview(self._memory).cast("q")
        self.processes = processes

    def row(self, process: int) -> Row:
        """What a process has written last."""
        first = process * _CELLS
        standing, connections, beats = self._cells[first : first + _CELLS]
        return Row(Standing(standing), connections, beats)

    def others(self, process: int) -> list[Row]:
        """The rows of all processes but one."""
        return [self.row(other) for other in range(self.processes) if other != process]

    def write_standing(self, process: int, standing: Standing) -> None:
        """Say how a process stands."""
        self._cells[process * _CELLS + _STANDING] = standing

    def write_connections(self, process: int, connections: int) -> None:
        """Say how many connections a process holds."""
        self._cells[process * _CELLS + _CONNECTIONS] = connections

    def beat(self, process: int) -> None:
        """Say that a process lives."""
        self._cells[process * _CELLS + _BEATS] += 1

    def clear(self, process: int) -> None:
        """Forget a process that is gone."""
        self.write_standing(process, Standing.LOADING)
        self.write_connections(process, 0)


class CountedConnections(set[object]):
    """uvicorn's set of open connections, its size kept on the board, together with those that are just being made."""

    def __init__(self, board: Board, process: int) -> None:
        super().__init__()
        self._board, self._process = board, process
        self._being_made = 0

    def expect(self) -> None:
        """A connection has been accepted, and is about to be added."""
        self._being_made += 1
        self._write()

    def settle(self) -> None:
        """One that was expected has been added, or has left already."""
        self._being_made -= 1
        self._write()

    def add(self, connection: object) -> None:
        """A connection opens."""
        super().add(connection)
        self._write()

    def discard(self, connection: object) -> None:
        """A connection is over."""
        super().discard(connection)
        self._write()

    def _write(self) -> None:
        self._board.write_connections(self._process, len(self) + self._being_made)
