"""A folder of frames that wait for a person's answers: a label table as training reads it, and the model's scores.

    labels.csv   image, one column per label (1, 0, empty), split, group, source, licence
    scores.csv   image, one probability per label, model, model_version, distance, near, cannot_tell, bytes
    images/      the frames' bytes as they came, named after their SHA-256

`labels.csv` says what people know, and nothing of what the model thinks: a kept frame's entries are empty, unknown.
`scores.csv` is not read with it; it is in the form of a teacher's scores. There `near` are the labels to ask about,
nearest to their threshold first, `distance` is that of the first, and `cannot_tell` are those that a person looked for
and could not decide.

Every change happens under one lock for all processes, and each file is replaced as a whole: images first, then
scores.csv, then labels.csv, then what had to go. A kill in between leaves a readable table without the last change.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from service.errors import AnsweredElsewhere, LabelFolderBusy, UnlistedFrame
from service.label_folder.csv_file import remove_partial
from service.label_folder.intake import IMAGES, Bounds, Intake, Outcome, UncertainFrame
from service.label_folder.tables import Answer, ListedFrame, Tables

LOCK: Final = ".lock"


class LabelFolder:
    """The folder at `path`; every method may be called from any thread, and by several processes at once.

    Its methods raise UnreadableLabelTable, LabelFolderBusy and OSError.
    """

    def __init__(self, path: Path, lock_timeout_s: float = 30.0) -> None:
        self.path, self._lock_timeout_s = path, lock_timeout_s

    def prepare(self, labels: Sequence[str]) -> None:
        """Make the folder and its tables where they are not, with a column for each label; nothing else is changed."""
        self.path.joinpath(IMAGES).mkdir(parents=True, exist_ok=True)
        with self._locked():
            tables = Tables.read(self.path)
            tables.know(labels)
            tables.write()
            remove_partial(self.path, self.path / IMAGES)

    def keep(self, frames: Iterable[UncertainFrame], bounds: Bounds) -> list[Outcome]:
        """Take the frames in, each once, and say what became of each.

        Where there is no room, frames that are less uncertain and have no answer go; if that does not make room, the
        new frame is the one that stays out. What has an answer is never taken away.
        """
        with self._locked():
            tables = Tables.read(self.path)
            batch = Intake(tables, bounds)
            outcomes = [batch.take(frame) for frame in frames]
            batch.write()
        return outcomes

    def labels(self) -> tuple[str, ...]:
        """The labels that the table has a column for."""
        return Tables.read(self.path).labels

    def listed(self) -> list[ListedFrame]:
        """Every frame of the table, the most uncertain first, those without scores last."""
        with self._locked():
            tables = Tables.read(self.path)
        found = [tables.listed(image) for image in tables.entries.rows]
        return sorted(found, key=lambda frame: float("inf") if frame.distance is None else frame.distance)

    def answer(self, image: str, label: str, answer: Answer, seen: Answer) -> ListedFrame:
        """Write a person's answer and return the frame with it.

        `seen` is the answer that stood there when the person was asked. Raises UnlistedFrame for a frame or label
        that the table does not have, AnsweredElsewhere where another answer stands there by now.
        """
        with self._locked():
            tables = Tables.read(self.path)
            tables.refuse_unlisted(image, label)
            stands = tables.listed(image).answers[label]
            if stands not in (seen, answer):
                raise AnsweredElsewhere(
                    f"{label} of {image} has been answered elsewhere: {stands or 'not answered'}, not "
                    f"{seen or 'unanswered'} as shown; answer again to change it",
                    stands=stands,
                )
            tables.answer(image, label, answer)
            tables.write()
            return tables.listed(image)

    def image_file(self, image: str) -> Path:
        """The file of a listed image. Raises UnlistedFrame where it is not listed, not there, or outside the folder."""
        path = (self.path / image).resolve()
        listed = image in Tables.read(self.path).entries.rows
        if not listed or not path.is_relative_to(self.path.resolve()) or not path.is_file():
            why = "is not there" if listed else "is not in labels.csv"
            raise UnlistedFrame(f"the image {image!r} {why}; skip the frame", image=image)
        return path

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with FileLock(self.path / LOCK, timeout=self._lock_timeout_s):
                yield
        except Timeout as error:
            message = f"another process has held {self.path / LOCK} for {self._lock_timeout_s:g} seconds"
            raise LabelFolderBusy(message) from error
