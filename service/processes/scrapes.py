"""Questions for the metrics of all processes, and what is remembered to answer them.

What a process has said last counts on when it is gone, so that no counter that was ever shown goes backwards.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from service.processes.reports import Report, added, lasting

# A process that does not answer within it is in the total with what it said last.
PATIENCE_S: Final = 1.0


@dataclass(eq=False, slots=True)
class _Scrape:
    asker: int
    until_s: float
    missing: set[int]


class Scrapes:
    """Adds up reports by the number of their process; `own` is the supervisor's report."""

    def __init__(self, own: Callable[[], Report], clock: Callable[[], float]) -> None:
        self._own, self._clock = own, clock
        self._last: dict[int, Report] = {}
        self._gone: Report = ()
        self._open: dict[int, _Scrape] = {}
        self._asked = 0

    def ask(self, asker: int, others: Collection[int]) -> int:
        """Begin a scrape for one process, for which the others are asked; returns the number of the question."""
        self._asked += 1
        self._open[self._asked] = _Scrape(asker, self._clock() + PATIENCE_S, set(others))
        return self._asked

    def remember(self, process: int, report: Report, question: int | None = None) -> None:
        """A process has said what its metrics are."""
        self._last[process] = report
        if question in self._open:
            self._open[question].missing.discard(process)

    def forget(self, process: int) -> None:
        """A process is gone; what it counted stays."""
        self._gone = added([self._gone, lasting(self._last.pop(process, ()))])
        self._open = {number: scrape for number, scrape in self._open.items() if scrape.asker != process}
        for scrape in self._open.values():
            scrape.missing.discard(process)

    def finished(self) -> list[tuple[int, Report]]:
        """The askers whose scrape is complete or has waited long enough, each with the total."""
        now_s = self._clock()
        done = [number for number, scrape in self._open.items() if not scrape.missing or scrape.until_s <= now_s]
        return [(self._open.pop(number).asker, self._total()) for number in done]

    def next_s(self) -> float | None:
        """When the first of the open scrapes has waited long enough."""
        return min((scrape.until_s for scrape in self._open.values()), default=None)

    def _total(self) -> Report:
        return added([*self._last.values(), self._own(), self._gone])
