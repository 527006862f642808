"""Uncertain frames on their way into the tables: each once, within the folder's bounds."""

import hashlib
import re
from collections.abc import Iterable
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
    """Takes frames in one by one, in memory; `write` then changes the folder."""

    def __init__(self, tables: Tables, bounds: Bounds) -> None:
        self._tables, self._bounds = tables, bounds
        self._new: dict[str, bytes] = {}
        self._gone: list[str] = []

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
        self._tables.scores.rows[image] = _score_row(image, frame)
        if image in self._gone:
            self._gone.remove(image)  # its file is still there
        else:
            self._new[image] = frame.data

    def _score_again(self, image: str, frame: UncertainFrame) -> None:
        """The newest scores count while nobody has answered: a model trained again may keep its name and version."""
        if self._unanswered(image):
            self._tables.know(frame.probabilities)
            self._tables.scores.rows[image] = _score_row(image, frame)

    def _leaving(self, frame: UncertainFrame) -> list[str] | None:
        """What has to go for a frame, the least uncertain first; None where that makes no room."""
        kept = [image for image in self._tables.scores.rows if image in self._tables.entries.rows]
        count, size = len(kept) + 1, self._held_bytes(kept) + len(frame.data)
        leaving: list[str] = []
        for image in self._less_uncertain(kept, frame.distance) if not self._fits(count, size) else []:
            leaving.append(image)
            count, size = count - 1, size - self._bytes_of(image)
            if self._fits(count, size):
                break
        return leaving if self._fits(count, size) else None

    def _fits(self, count: int, size: int) -> bool:
        return count <= self._bounds.frames and size <= self._bounds.frame_bytes

    def _held_bytes(self, images: Iterable[str]) -> int:
        return sum(self._bytes_of(image) for image in images)

    def _less_uncertain(self, images: Iterable[str], distance: float) -> list[str]:
        """Unanswered frames that we kept and that are farther from a threshold than `distance`, the farthest first."""
        found = {image: far for image in images if (far := self._distance_of(image)) is not None and far > distance}
        removable = [image for image in found if _OURS.fullmatch(image) and self._unanswered(image)]
        return sorted(removable, key=found.__getitem__, reverse=True)

    def _unanswered(self, image: str) -> bool:
        return not any(self._tables.listed(image).answers.values())

    def _distance_of(self, image: str) -> float | None:
        return number(self._tables.scores.rows[image].get("distance"))

    def _bytes_of(self, image: str) -> int:
        return int(number(self._tables.scores.rows[image].get("bytes")) or 0)

    def _drop(self, image: str) -> None:
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
