"""Scores what was asked for: frames in, rows out, and how it went."""

import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console

from service.scoring.interruption import Interruption
from service.scoring.paths import STANDARD_INPUT, ListedFile, listed_files
from service.scoring.progress import ScoringProgress
from service.scoring.rows import Answer, FrameToScore, Keep, ModelFacts, Row, Writer, keep_nothing


class Scorer(Protocol):
    """Who answers frames."""

    @property
    def model(self) -> ModelFacts:
        """Whose answers they are."""

    def rows(self, frames: Iterable[FrameToScore]) -> Generator[Row, None, None]:
        """What became of each frame, in order."""


@dataclass(slots=True)
class Tally:
    """Rows written, those of them without an answer, and whether a person stopped it."""

    rows: int = 0
    failed: int = 0
    stopped: bool = False

    def count(self, row: Row) -> None:
        """One more row is written."""
        self.rows += 1
        self.failed += not isinstance(row.outcome, Answer)


def score(
    frames: Iterable[FrameToScore],
    scorer: Scorer,
    writer: Writer,
    progress: ScoringProgress,
    keep: Keep = keep_nothing,
) -> Tally:
    """Write a row for each frame as it is scored and kept. Ctrl-C ends it with what is written whole."""
    tally = Tally()
    writer.begin(scorer.model)
    try:
        with Interruption() as interruption, progress, closing(scorer.rows(frames)) as rows:
            for row in keep(rows):
                with interruption.held_back():
                    writer.write(row)
                    tally.count(row)
                progress.advance(row)
    except KeyboardInterrupt:
        tally.stopped = True
    except BaseException:
        writer.stop()
        raise
    writer.stop() if tally.stopped else writer.end()
    return tally


def progress_over(arguments: Sequence[str], console: Console) -> ScoringProgress:
    """The progress of scoring what the arguments name; what standard input lists cannot be counted."""

    def count(ended: threading.Event) -> int | None:
        return None if STANDARD_INPUT in arguments else _counted(listed_files(arguments), ended)

    return ScoringProgress(console, count)


def _counted(files: Iterable[ListedFile], ended: threading.Event) -> int | None:
    number = 0
    for number, _ in enumerate(files, start=1):  # noqa: B007 - the last one is the count
        if ended.is_set():
            return None
    return number
