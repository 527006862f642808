"""Which frames have their row in an output already: 9 bytes are held for each file, however many there are."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np


@dataclass(frozen=True, slots=True)
class WrittenRow:
    """What tells a row of an output apart; `end_byte` is the place in the file where it ends.

    `failed` says that it holds a problem and no answer.
    """

    path: str
    video_frame: int | None
    model: str
    end_byte: int = 0
    failed: bool = False


class WrittenRows:
    """The files that the rows of an output are about; `failed` counts the rows without an answer.

    Rows stand in the order of the files, so of a video that is not the last one every frame has its row. A file that is
    listed several times has its rows as often.
    """

    def __init__(self, rows: Iterable[WrittenRow] = ()) -> None:
        self.count, self.failed, self.last = 0, 0, WrittenRow("", None, "")
        marks = array("Q")
        for row in rows:
            if self.count == 0 or not _goes_on(self.last, row):
                marks.append(_mark(row.path))
            self.last = row
            self.count += 1
            self.failed += row.failed
        self._marks = np.sort(np.frombuffer(marks, np.uint64)) if marks else np.empty(0, np.uint64)
        self._passed = np.zeros(len(marks), np.bool_)
        self._unfinished = None if self.last.video_frame is None else self.last.path

    def covers(self, path: str) -> bool:
        """Whether all rows of a file are there; to be asked once each time that the file is listed."""
        mark = np.uint64(_mark(path))
        first, end = np.searchsorted(self._marks, mark), np.searchsorted(self._marks, mark, "right")
        free = first + np.count_nonzero(self._passed[first:end])
        if free == end:
            self._unfinished = None if path == self._unfinished else self._unfinished
            return False
        self._passed[free] = True
        return bool(free < end - 1) or self.last_frame_of(path) < 0

    def last_frame_of(self, path: str) -> int:
        """The number of the last frame that is there of a video whose rows may be incomplete, else -1."""
        return -1 if path != self._unfinished or self.last.video_frame is None else self.last.video_frame


def _goes_on(last: WrittenRow, row: WrittenRow) -> bool:
    """Whether two rows, one after the other, are about the same video as it was listed once."""
    if row.path != last.path or last.video_frame is None:
        return False
    return row.video_frame is None or row.video_frame > last.video_frame


def _mark(path: str) -> int:
    # 64 bits: among ten million files two are taken for one with a probability of 3 in a million.
    return int.from_bytes(blake2b(path.encode("utf-8", "surrogateescape"), digest_size=8).digest())
