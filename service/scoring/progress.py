"""How far the scoring is, on standard error: files done, frames a second, time that remains."""

import threading
import time
from collections.abc import Callable
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.scoring.rows import Row


class ScoringProgress:
    """A bar over files; their number is counted beside the scoring by `count`, which is told when to give up.

    `clock` returns seconds that never run backwards.
    """

    def __init__(
        self,
        console: Console,
        count: Callable[[threading.Event], int | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        shown = console.is_terminal and not console.quiet
        columns = (TextColumn("files"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
        self._bar = Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=not shown)
        self._task = self._bar.add_task("files", total=None, rate="")
        self._ended, self._clock = threading.Event(), clock
        self._frames, self._started_s = 0, 0.0
        self._counter = threading.Thread(target=self._count, args=(count,), name="count-files", daemon=True)
        if shown:
            self._counter.start()

    def advance(self, row: Row) -> None:
        """One more frame has its row."""
        if self._frames == 0:
            # What an earlier run has done would otherwise count as speed.
            self._bar.reset(self._task, completed=int(row.frame.files_done), rate="")
            self._started_s = self._clock()
        self._frames += 1
        self._bar.update(self._task, completed=row.frame.files_done, rate=self._rate())

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._bar.stop()

    def _rate(self) -> str:
        passed_s = self._clock() - self._started_s
        return f"{(self._frames - 1) / passed_s:.1f} frames/s" if passed_s > 0 else ""

    def _count(self, count: Callable[[threading.Event], int | None]) -> None:
        self._bar.update(self._task, total=count(self._ended))
