"""When a process that died is started again, and when to give up."""

import time
from collections.abc import Callable
from typing import Final

FIRST_DELAY_S: Final = 0.5
LONGEST_DELAY_S: Final = 30.0
# Who has served this long did not die of how it was started.
SETTLED_S: Final = 60.0
# A model file that is replaced just now, or memory that is short for a moment, is over by then: 7.5 seconds of waiting.
MOST_FAILED_STARTS: Final = 5


class Restarts:
    """Counts the deaths of one process; `clock` returns seconds that never run backwards."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ready_s: float | None = None
        self._quick_deaths = 0
        self.failed_starts = 0

    def ready(self) -> None:
        """The process has come as far as serving."""
        self._ready_s = self._clock()
        self.failed_starts = 0

    def died(self) -> float:
        """Seconds to wait before it is started again: none after a long life, twice as many after every short one."""
        lived_s = 0.0 if self._ready_s is None else self._clock() - self._ready_s
        self.failed_starts += self._ready_s is None
        self._quick_deaths = 0 if lived_s >= SETTLED_S else self._quick_deaths + 1
        self._ready_s = None
        if not self._quick_deaths:
            return 0.0
        return float(min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** (self._quick_deaths - 1)))

    @property
    def hopeless(self) -> bool:
        """Whether it has died too often before it could serve."""
        return self.failed_starts >= MOST_FAILED_STARTS
