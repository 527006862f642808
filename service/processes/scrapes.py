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
        self._owing: set[int] = set()

    def begin(self, asker: int, others: Collection[int]) -> None:
        """Begin a scrape for one process, for which the others are to be asked."""
        self._asked += 1
        self._open[self._asked] = _Scrape(asker, self._clock() + PATIENCE_S, set(others))

    def questions(self) -> list[tuple[int, int]]:
        """Who is to be asked now, and the number of the question.

        Who owes an answer is not asked again before it comes: of one that hangs, questions would fill the pipe.
        """
        newest = {process: number for number, scrape in self._open.items() for process in scrape.missing}
        due = [(process, number) for process, number in newest.items() if process not in self._owing]
        self._owing.update(process for process, _ in due)
        return due

    def remember(self, process: int, report: Report, question: int | None = None) -> None:
        """A process has said what its metrics are: to a question, and so to all that were asked before it."""
        self._last[process] = report
        if question is None:
            return
        self._owing.discard(process)
        for number, scrape in self._open.items():
            if number <= question:
                scrape.missing.discard(process)

    def forget(self, process: int) -> None:
        """A process is gone; what it counted stays."""
        self._owing.discard(process)
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
