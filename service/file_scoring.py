"""Files and folders scored without a server, by the same detector, for `roadcue predict`."""

import csv
import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from service.app import detector_of, keeper_of
from service.errors import FrameError, UnreadableFile
from service.file_keeping import kept, offer_file
from service.inference.detector import Detection, Detector
from service.inference.execution import ExecutionPlan, available_cpus
from service.inference.frame_queue import Completed
from service.inference.scheduling import FrameScheduler, open_scheduler
from service.settings import Settings
from service.web.problems import problem

IMAGE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})
# Enough to keep the workers busy while a file is read, few enough to hold in memory.
FRAMES_AHEAD_PER_WORKER: Final = 4


@dataclass(frozen=True, slots=True)
class ScoredFile:
    """One file and what became of it."""

    path: Path
    outcome: Detection | FrameError


class Writer(Protocol):
    """Writes results in one format."""

    def begin(self, detector: Detector) -> None: ...
    def write(self, scored: ScoredFile) -> None: ...
    def end(self) -> None: ...


def image_files(paths: Iterable[Path]) -> list[Path]:
    """The files as given, and the images in the folders at every depth, sorted by name; each file once."""
    found: dict[Path, None] = {}
    for path in paths:
        found |= dict.fromkeys(_images_below(path) if path.is_dir() else [path])
    return list(found)


def score_files(
    files: Sequence[Path], settings: Settings, writer: Writer, console: Console, group: str | None = None
) -> int:
    """Score every file, write the results in order, and return how many could not be read.

    Uncertain frames are kept where the settings say so, in `group`; without one, a file's group is its folder.
    Raises StartupError, and UncertainFramesLost where some could not be kept.
    """
    with console.status("loading the model"):
        detector = detector_of(settings)
        keeper = keeper_of(settings, detector)
    _say_what_runs(detector, console)
    writer.begin(detector)
    failed = 0
    with kept(keeper, console), _progress(console) as progress:
        scoring = scores(files, detector, settings.inference_workers)
        for scored in progress.track(scoring, total=len(files), description="frames"):
            failed += isinstance(scored.outcome, FrameError)
            writer.write(scored)
            if keeper and not isinstance(scored.outcome, FrameError):
                offer_file(keeper, scored.path, scored.outcome, group)
        writer.end()
    return failed


def scores(files: Iterable[Path], detector: Detector, workers: int = 0) -> Iterator[ScoredFile]:
    """What became of each file, in order, computed a few files ahead. `workers` 0 takes every CPU."""
    workers = workers or available_cpus()
    ahead = workers * FRAMES_AHEAD_PER_WORKER
    pending: deque[tuple[Path, Future[Completed[Detection]] | FrameError]] = deque()
    with open_scheduler(detector, ExecutionPlan(workers), max_queue_frames=ahead + 1) as scheduler:
        for path in files:
            pending.append((path, _submitted(path, scheduler)))
            if len(pending) > ahead:
                yield _settled(*pending.popleft())
        while pending:
            yield _settled(*pending.popleft())


def writer_for(form: str, stream: TextIO) -> Writer:
    """The writer for `table`, `json` or `csv`."""
    writers: dict[str, type[TableWriter] | type[JsonWriter] | type[CsvWriter]] = {
        "table": TableWriter,
        "json": JsonWriter,
        "csv": CsvWriter,
    }
    return writers[form](stream)


class TableWriter:
    """A table for people; labels at or above their threshold are bold."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream)
        self._table = Table()
        self._labels: tuple[str, ...] = ()

    def begin(self, detector: Detector) -> None:
        self._labels = tuple(detector.thresholds)
        self._table.add_column("frame", overflow="fold")
        for label in detector.metadata.labels:
            self._table.add_column(escape(label.title), justify="right")

    def write(self, scored: ScoredFile) -> None:
        if isinstance(scored.outcome, FrameError):
            self._table.add_row(escape(str(scored.path)), f"[red]{_code(scored.outcome)}[/red]")
            return
        self._table.add_row(escape(str(scored.path)), *(_cell(scored.outcome, label) for label in self._labels))

    def end(self) -> None:
        self._console.print(self._table)


class CsvWriter:
    """One row a frame, written as it is scored; `labels` are separated by spaces."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._rows = csv.writer(stream, lineterminator="\n")
        self._labels: tuple[str, ...] = ()

    def begin(self, detector: Detector) -> None:
        self._labels = tuple(detector.thresholds)
        self._rows.writerow(["frame", "width", "height", *self._labels, "labels", "problem", "detail"])

    def write(self, scored: ScoredFile) -> None:
        outcome = scored.outcome
        if isinstance(outcome, FrameError):
            unknown = [""] * (2 + len(self._labels) + 1)
            self._rows.writerow([scored.path, *unknown, _code(outcome), outcome])
            return
        values = [outcome.probabilities[label] for label in self._labels]
        self._rows.writerow([scored.path, outcome.width, outcome.height, *values, " ".join(outcome.labels), "", ""])

    def end(self) -> None:
        self._stream.flush()


class JsonWriter:
    """One JSON object in the form of the service's reply to POST /predict, without its times."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._head: dict[str, Any] = {}
        self._frames: list[dict[str, Any]] = []

    def begin(self, detector: Detector) -> None:
        model = {"name": detector.metadata.name, "version": detector.metadata.version}
        self._head = {"model": model, "thresholds": dict(detector.thresholds)}

    def write(self, scored: ScoredFile) -> None:
        self._frames.append({"name": str(scored.path), **_members(scored.outcome)})

    def end(self) -> None:
        json.dump({**self._head, "frames": self._frames}, self._stream, indent=2, ensure_ascii=False)
        self._stream.write("\n")


def _say_what_runs(detector: Detector, console: Console) -> None:
    model, session = detector.metadata, detector.session
    said = f"{model.name} {model.version}, {model.precision} on {session.provider}: {detector.precision_reason}"
    console.print(said, markup=False, highlight=False, soft_wrap=True)


def _images_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())


def _submitted(path: Path, scheduler: FrameScheduler[Detection]) -> Future[Completed[Detection]] | FrameError:
    try:
        return scheduler.submit([path.read_bytes()])[0]
    except OSError as error:
        return UnreadableFile(f"{path} cannot be read: {error.strerror}")


def _settled(path: Path, pending: Future[Completed[Detection]] | FrameError) -> ScoredFile:
    if isinstance(pending, FrameError):
        return ScoredFile(path, pending)
    try:
        return ScoredFile(path, pending.result().result)
    except FrameError as error:
        return ScoredFile(path, error)


def _members(outcome: Detection | FrameError) -> dict[str, Any]:
    if isinstance(outcome, FrameError):
        return {"problem": problem(outcome)}
    return {
        "width": outcome.width,
        "height": outcome.height,
        "probabilities": dict(outcome.probabilities),
        "labels": list(outcome.labels),
    }


def _code(error: FrameError) -> str:
    return str(problem(error)["code"])


def _cell(detection: Detection, label: str) -> str:
    shown = f"{detection.probabilities[label]:.3f}"
    return f"[bold green]{shown}[/bold green]" if label in detection.labels else f"[dim]{shown}[/dim]"


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=console.quiet or not console.is_terminal)
