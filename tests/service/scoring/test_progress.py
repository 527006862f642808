"""How far it is: files done, frames a second, and no claim of speed for what an earlier run did."""

import io
import threading

from rich.console import Console

from service.scoring.progress import ScoringProgress
from service.scoring.rows import Answer, FrameToScore, Place, Row


def row(files_done: float) -> Row:
    return Row(FrameToScore(Place("a.png"), files_done), Answer(1, 1, {}, ()))


def test_files_and_rate_are_shown_once_they_are_known() -> None:
    """Two frames in half a second after the first are four a second; the clock is ours."""
    counted = threading.Event()

    def count(ended: threading.Event) -> int:
        counted.set()
        return 1000

    instants_s = iter([10.0, 10.0, 10.25, 10.5])
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100)
    with ScoringProgress(console, count, lambda: next(instants_s)) as progress:
        counted.wait(10)
        for files_done in (501, 502, 503):
            progress.advance(row(files_done))
        progress._counter.join()
        progress._bar.refresh()
    assert "503/1000" in stream.getvalue()
    assert "4.0 frames/s" in stream.getvalue()


def test_nothing_is_shown_or_counted_where_nobody_looks() -> None:
    def refuse(ended: threading.Event) -> int:
        raise AssertionError("it was counted")

    stream = io.StringIO()
    with ScoringProgress(Console(file=stream), refuse) as progress:
        progress.advance(row(1))
    assert stream.getvalue() == ""
