"""One frame on its way: where it comes from, what it holds, and what it turned out to show."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.errors import FrameError, UnreadableFile
from service.inference.detector import Detection


@dataclass(frozen=True, slots=True)
class Place:
    """Where a frame comes from; the last two are None for what is no frame of a video.

    `video_frame` counts the video's frames from 0, `video_seconds` is the time since its first frame.
    """

    path: str
    video_frame: int | None = None
    video_seconds: float | None = None

    def __str__(self) -> str:
        return self.path if self.video_seconds is None else f"{self.path} at {self.video_seconds:.3f} s"


@dataclass(frozen=True, slots=True)
class FrameToScore:
    """A file, a video's frame as uint8 RGB [H, W, 3], or why there is none.

    `files_done` counts the files that are done with this frame; inside a video it is a fraction.
    """

    place: Place
    files_done: float
    frame_HWC: NDArray[np.uint8] | None = None
    failure: FrameError | None = None

    def read(self) -> bytes:
        """The file's bytes. Raises UnreadableFile."""
        try:
            return Path(self.place.path).read_bytes()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise UnreadableFile(f"{self.place.path} cannot be read: {reason}") from error


@dataclass(frozen=True, slots=True)
class Answer:
    """What a frame shows: its size in pixels, the probability of every label, and the labels found."""

    width: int
    height: int
    probabilities: Mapping[str, float]
    labels: tuple[str, ...]

    @classmethod
    def of(cls, detection: Detection) -> "Answer":
        return cls(detection.width, detection.height, dict(detection.probabilities), detection.labels)


@dataclass(frozen=True, slots=True)
class Row:
    """One frame and what became of it: its answer, or a problem object (RFC 9457) as the service writes it.

    `detection` is what the model in this process saw.
    """

    frame: FrameToScore
    outcome: Answer | Mapping[str, Any]
    detection: Detection | None = None

    @property
    def place(self) -> Place:
        return self.frame.place


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Who answers: thresholds and titles by label, both in the model's order."""

    name: str
    version: str
    thresholds: Mapping[str, float]
    titles: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


Keep = Callable[[Row], None]
"""Called with every row, for who wants the frame for more than its row."""


def keep_nothing(_: Row) -> None:
    """For who wants rows alone."""


class Writer(Protocol):
    """Writes rows in one format; `stop` instead of `end` leaves what can be gone on with."""

    def begin(self, model: ModelFacts) -> None: ...
    def write(self, row: Row) -> None: ...
    def end(self) -> None: ...
    def stop(self) -> None: ...
