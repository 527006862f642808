"""Uncertain frames on their way into the tables: each once, within the folder's bounds."""

import hashlib
import re
from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from service.label_folder.csv_file import IMAGE, Row, replace_file
from service.label_folder.tables import Tables, number

IMAGES: Final = "images"
# Only what was named here may be taken away again; a table may list other people's files.
_OURS: Final = re.compile(IMAGES + r"/[0-9a-f]{32}\.(jpg|png|webp)")

Outcome = Literal["kept", "known", "no_room", "dropped", "failed"]


@dataclass(frozen=True, slots=True)
class UncertainFrame:
    """An encoded frame, each label's probability, and the distances of those near their threshold, nearest first."""

    data: bytes
    probabilities: dict[str, float]
    near: dict[str, float]
    model: str
    model_version: str
    group: str
    licence: str

    @property
    def distance(self) -> float:
        return min(self.near.values())


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the folder may hold: frames, and bytes of them."""

    frames: int
    frame_bytes: int


class Intake:
    """Takes frames in one by one, in memory; `write` then changes the folder.

    What the folder holds is counted once, however many frames come.
    """

    def __init__(self, tables: Tables, bounds: Bounds) -> None:
        self._tables, self._bounds = tables, bounds
        self._new: dict[str, bytes] = {}
        self._gone: list[str] = []
        held = [image for image in tables.scores.rows if image in tables.entries.rows]
        self._count, self._bytes = len(held), sum(map(self._bytes_of, held))
        self._removable: list[tuple[float, str]] | None = None

    def take(self, frame: UncertainFrame) -> Outcome:
        """What becomes of the frame."""
        image = f"{IMAGES}/{hashlib.sha256(frame.data).hexdigest()[:32]}{_suffix(frame.data)}"
        if image in self._tables.entries.rows:
            self._score_again(image, frame)
            return "known"
        leaving = self._leaving(frame)
        if leaving is None:
            return "no_room"
        for other in leaving:
            self._drop(other)
        self._add(image, frame)
        return "kept"

    def write(self) -> None:
        """Images, tables, and at last the images that had to go. What fails leaves no image without a row behind."""
        try:
            self._write_images()
            self._forget_unlisted()
            self._tables.write()
        except BaseException:
            for image in self._new:
                (self._tables.folder / image).unlink(missing_ok=True)
            raise
        for image in self._gone:
            (self._tables.folder / image).unlink(missing_ok=True)

    def _write_images(self) -> None:
        if self._new:
            self._tables.folder.joinpath(IMAGES).mkdir(exist_ok=True)
        for image, data in self._new.items():
            replace_file(self._tables.folder / image, data)

    def _forget_unlisted(self) -> None:
        """Scores that an unfinished change has left, or whose row a person has taken out."""
        for image in [image for image in self._tables.scores.rows if image not in self._tables.entries.rows]:
            if _OURS.fullmatch(image):
                del self._tables.scores.rows[image]

    def _add(self, image: str, frame: UncertainFrame) -> None:
        self._tables.know(frame.probabilities)
        source = self._tables.folder.resolve().name
        # Chosen for being hard, so no fair sample: nothing is chosen by them or calibrated on them.
        about = {"split": "fit", "group": frame.group, "source": source, "licence": frame.licence}
        self._tables.entries.rows[image] = {IMAGE: image, **about}
        self._score(image, frame)
        if self._removable is not None:
            insort(self._removable, (self._distance_of(image) or 0.0, image))
        if image in self._gone:
            self._gone.remove(image)  # its file is still there
        else:
            self._new[image] = frame.data

    def _score_again(self, image: str, frame: UncertainFrame) -> None:
        """The newest scores count while nobody has answered: a model trained again may keep its name and version."""
        if self._tables.is_answered(image):
            return
        self._tables.know(frame.probabilities)
        if image in self._tables.scores.rows:
            self._count, self._bytes = self._count - 1, self._bytes - self._bytes_of(image)
        self._score(image, frame)
        self._removable = None

    def _score(self, image: str, frame: UncertainFrame) -> None:
        self._tables.scores.rows[image] = _score_row(image, frame)
        self._count, self._bytes = self._count + 1, self._bytes + self._bytes_of(image)

    def _leaving(self, frame: UncertainFrame) -> list[str] | None:
        """What has to go for a frame, the least uncertain first; None where that makes no room."""
        count, size = self._count + 1, self._bytes + len(frame.data)
        leaving: list[str] = []
        while not self._fits(count, size):
            image = self._least_uncertain(len(leaving), frame.distance)
            if image is None:
                return None
            leaving.append(image)
            count, size = count - 1, size - self._bytes_of(image)
        return leaving

    def _fits(self, count: int, size: int) -> bool:
        return count <= self._bounds.frames and size <= self._bounds.frame_bytes

    def _least_uncertain(self, place: int, distance: float) -> str | None:
        """Of the frames that may go the one at `place` from the least uncertain, if it is farther than `distance`."""
        if self._removable is None:
            self._removable = sorted(self._found_removable())
        if place >= len(self._removable):
            return None
        far, image = self._removable[-1 - place]
        return image if far > distance else None

    def _found_removable(self) -> Iterator[tuple[float, str]]:
        """Unanswered frames that we kept, with their distance from a threshold."""
        for image in self._tables.scores.rows:
            ours = image in self._tables.entries.rows and _OURS.fullmatch(image)
            if ours and (far := self._distance_of(image)) is not None and not self._tables.is_answered(image):
                yield far, image

    def _distance_of(self, image: str) -> float | None:
        return number(self._tables.scores.rows[image].get("distance"))

    def _bytes_of(self, image: str) -> int:
        return int(number(self._tables.scores.rows[image].get("bytes")) or 0)

    def _drop(self, image: str) -> None:
        self._count, self._bytes = self._count - 1, self._bytes - self._bytes_of(image)
        if self._removable is not None:
            self._removable.remove((self._distance_of(image) or 0.0, image))
        del self._tables.entries.rows[image], self._tables.scores.rows[image]
        if self._new.pop(image, None) is None:
            self._gone.append(image)


def _score_row(image: str, frame: UncertainFrame) -> Row:
    return {
        IMAGE: image,
        **{label: f"{probability:g}" for label, probability in frame.probabilities.items()},
        "model": frame.model,
        "model_version": frame.model_version,
        "distance": f"{frame.distance:.4f}",
        "near": " ".join(frame.near),
        "bytes": str(len(frame.data)),
    }


def _suffix(data: bytes) -> str:
    """Of a frame that has been decoded, so it is one of three."""
    return ".jpg" if data.startswith(b"\xff\xd8") else ".png" if data.startswith(b"\x89PNG") else ".webp"
