"""One frame on its way: where it comes from, what it holds, and what it turned out to show."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from service.errors import FrameError, FrameTooLarge, UnreadableFile
from service.inference.detector import Detection

# The most that a service can be set up to take for a frame; a larger file would only fill the memory.
MAX_FILE_BYTES: Final = 1024 * 1024 * 1024
MODEL_MEMBERS: Final = ("name", "version", "precision", "fingerprint")


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
        """The file's bytes. Raises UnreadableFile, and FrameTooLarge for what would only fill the memory."""
        path = Path(self.place.path)
        try:
            size = path.stat().st_size
            if size <= MAX_FILE_BYTES:
                return path.read_bytes()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise UnreadableFile(f"{self.place.path} cannot be read: {reason}") from error
        raise FrameTooLarge(
            f"{self.place.path} holds {size} bytes; allowed are {MAX_FILE_BYTES}", limit_bytes=MAX_FILE_BYTES
        )


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
    """Who answers: thresholds and titles by label, both in the model's order.

    `fingerprint` tells its file from others of its name and version; None where a service does not say.
    """

    name: str
    version: str
    precision: str
    fingerprint: str | None
    thresholds: Mapping[str, float]
    titles: Mapping[str, str]

    @property
    def members(self) -> dict[str, str | None]:
        """What tells it from other models."""
        return {name: getattr(self, name) for name in MODEL_MEMBERS}

    def __str__(self) -> str:
        return model_text(self.members)


def model_text(members: Mapping[str, str | None]) -> str:
    """A model in one cell of a table; an earlier version told its name and version alone.

    >>> model_text({"name": "street", "version": "1.0.0", "precision": "int8", "fingerprint": "3f2a91c0"})
    'street 1.0.0 int8 3f2a91c0'
    """
    told = {**dict.fromkeys(MODEL_MEMBERS[2:]), **members}
    return " ".join(member for name in MODEL_MEMBERS if (member := told[name]))


Keep = Callable[[Iterable[Row]], Iterable[Row]]
"""Passes rows on in their order, for who wants the frame for more than its row: each once its frame is not needed."""


def keep_nothing(rows: Iterable[Row]) -> Iterable[Row]:
    """For who wants rows alone."""
    return rows


class Writer(Protocol):
    """Writes rows in one format; `stop` instead of `end` leaves what can be gone on with."""

    def begin(self, model: ModelFacts) -> None: ...
    def write(self, row: Row) -> None: ...
    def end(self) -> None: ...
    def stop(self) -> None: ...
