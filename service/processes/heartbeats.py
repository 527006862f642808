"""Who hangs: a process that has been ready, lives, and does nothing any more, its event loop least of all."""

from collections.abc import Callable
from typing import Final

from service.processes.board import Board, Standing

LOOK_EVERY_S: Final = 1.0
PATIENT_LOOKS: Final = 30
"""So many looks in a row without a beat between them; not seconds, since a machine that stood still looks no more."""


class Heartbeats:
    """Looks at the board from time to time."""

    def __init__(self, board: Board, clock: Callable[[], float]) -> None:
        self._board, self._clock = board, clock
        self._seen: dict[int, int] = {}
        self._missed: dict[int, int] = {}
        self._look_at_s = clock() + LOOK_EVERY_S

    def next_s(self) -> float:
        """When to look again."""
        return self._look_at_s

    def hung(self) -> list[int]:
        """The processes that are found to hang now, each once; nobody before it is time to look."""
        if self._clock() < self._look_at_s:
            return []
        self._look_at_s = self._clock() + LOOK_EVERY_S
        for process in range(self._board.processes):
            row = self._board.row(process)
            is_still = row.standing is Standing.READY and self._seen.get(process) == row.beats
            self._missed[process] = self._missed.get(process, 0) + 1 if is_still else 0
            self._seen[process] = row.beats
        return [process for process, missed in self._missed.items() if missed == PATIENT_LOOKS]
