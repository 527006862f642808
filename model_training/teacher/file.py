"""What a teacher, some detector or classifier, says of frames, as a CSV of one of two kinds, told apart by its columns.

    presence scores   image, one column per label with a score in 0..1, or empty
    boxes             image, label, score, x0, y0, x1, y1 in fractions of the frame, a row per box; an image in which
                      nothing was found has one row with nothing but its name

Image paths are relative to the file's folder.

# N = frames, L = labels
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model_training.errors import AnnotationError
from model_training.label_table import LabelTable
from model_training.sources.annotated_frame import Box
from model_training.sources.boxes import clipped
from model_training.sources.csv_table import csv_rows
from model_training.sources.problems import Problems

NOTHING_FOUND: Final = 0.01
"""The score of a label that a teacher looked for without finding a box, and the least score that counts as one."""
BOX_COLUMNS: Final = ("image", "label", "score", "x0", "y0", "x1", "y1")

Lines = Sequence[tuple[int, Mapping[str, str]]]
# Those about an image of the table, and its row there.
Found = Sequence[tuple[int, Mapping[str, str], int]]


class Hint(NamedTuple):
    """A box that a teacher suggests, and how likely it is that what it suggests is there."""

    box: Box
    probability: float


Hints = Mapping[str, tuple[Hint, ...]]


@dataclass(frozen=True, slots=True)
class TeacherScores:
    """Raw scores in 0..1, [N, L], NaN where the teacher says nothing, and its boxes with raw scores, N mappings."""

    scores_NL: NDArray[np.float32]
    boxes: tuple[Hints, ...]


def read_teacher(path: Path, table: LabelTable) -> TeacherScores:
    """The scores, and boxes if there are any, of a teacher's file for the frames and labels of `table`.

    Images that are not in the table and labels that are not among its are passed over. Raises AnnotationError, with
    file and line, for a file without an `image` column, an image with two rows of presence scores, a score that is not
    within 0..1 and a box without area; and for a file that says nothing of any image or label of the table.
    """
    lines = list(csv_rows(path, Problems("stop"), required=("image",)))
    found = list(_in_table(path, lines, table))
    _check_that_it_is_about(path, lines, found, table)
    if set(BOX_COLUMNS) <= set(lines[0][1]):
        return _box_scores(path, found, table)
    return TeacherScores(_presence_scores(path, lines, found, table), ({},) * len(table))


def _check_that_it_is_about(path: Path, lines: Lines, found: Found, table: LabelTable) -> None:
    """A file moved away from its images, say, would teach nothing without a word."""
    if not found:
        raise AnnotationError(
            path,
            None,
            f"none of its {len(lines)} rows is about one of the {len(table)} images of the data; "
            f"its image paths are relative to its folder, {path.parent.absolute()}",
        )
    columns = tuple(lines[0][1])
    of_boxes = set(BOX_COLUMNS) <= set(columns)
    said = {record["label"] for _, record in lines} - {""} if of_boxes else set(columns)
    # A detector that found no box anywhere has looked all the same.
    if said and not said & set(table.labels):
        what = f"its boxes are of {', '.join(sorted(said))}" if of_boxes else f"its columns are {', '.join(columns)}"
        raise AnnotationError(path, 1, f"{what}; none is a label of the data: {', '.join(table.labels)}")


def _presence_scores(path: Path, lines: Lines, found: Found, table: LabelTable) -> NDArray[np.float32]:
    scores_NL = np.full(table.entries_NL.shape, np.nan, np.float32)
    first_line: dict[str, int] = {}
    for line, record in lines:
        image = record["image"]
        if first_line.setdefault(image, line) != line:
            raise AnnotationError(path, line, f"image {image} has a row already, in line {first_line[image]}")
    for line, record, row in found:
        scores_NL[row] = [_score(path, line, record.get(label)) for label in table.labels]
    return scores_NL


def _box_scores(path: Path, found: Found, table: LabelTable) -> TeacherScores:
    scores_NL = np.full(table.entries_NL.shape, np.nan, np.float32)
    boxes: list[dict[str, list[Hint]]] = [defaultdict(list) for _ in range(len(table))]
    for line, record, row in found:
        scores_NL[row] = np.fmax(scores_NL[row], NOTHING_FOUND)
        label = record["label"]
        if label in table.labels:
            score = _score(path, line, record["score"])
            boxes[row][label].append(Hint(_box(path, line, record), score))
            j = table.labels.index(label)
            scores_NL[row, j] = max(scores_NL[row, j], score)
    return TeacherScores(scores_NL, tuple({key: tuple(hints) for key, hints in frame.items()} for frame in boxes))


def _in_table(path: Path, lines: Lines, table: LabelTable) -> Iterator[tuple[int, Mapping[str, str], int]]:
    rows_by_image = {image.resolve(): row for row, image in enumerate(table.images)}
    for line, record in lines:
        row = rows_by_image.get((path.parent / record["image"]).resolve())
        if row is not None:
            yield line, record, row


def _box(path: Path, line: int, record: Mapping[str, str]) -> Box:
    corners = tuple(_number(record[name]) for name in BOX_COLUMNS[3:])
    box = clipped((corners[0], corners[1], corners[2], corners[3]))
    if box is None:
        raise AnnotationError(
            path, line, f"the box is {corners}; it must be x0 < x1, y0 < y1 in fractions of the frame"
        )
    return box


def _score(path: Path, line: int, text: str | None) -> float:
    if not text:
        return float("nan")
    score = _number(text)
    if not 0 <= score <= 1:
        raise AnnotationError(path, line, f"the score is {text!r}; it must be within 0..1 or empty")
    return score


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
