"""Our own label table: a folder with labels.csv and, where there are boxes, boxes.csv.

    labels.csv   image, one column per label (1 present, 0 absent, empty unknown), and optionally
                 split (train, fit: to learn from only, test, or empty), group, source, licence
    boxes.csv    image, label, x0, y0, x1, y1 in fractions of the frame's width and height

Image paths are relative to the folder. Every box of a label whose entry is 1 is listed, or none is.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from model_training.errors import InvalidConfiguration
from model_training.sources.annotated_frame import AnnotatedFrame, Box, Place
from model_training.sources.boxes import clipped, sticks_out
from model_training.sources.problems import Kind, Problems
from service.inference.artifact import LABEL_KEY

LABELS, BOXES = "labels.csv", "boxes.csv"
ABOUT = ("image", "split", "group", "source", "licence")
BOX_COLUMNS = ("image", "label", "x0", "y0", "x1", "y1")
SPLITS = ("train", "fit", "test", "")
ENTRIES = ("0", "1", "")

Row = Mapping[str, str]
BoxesByImage = Mapping[str, Mapping[str, tuple[Box, ...]]]


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a frame is given where labels.csv has no such column or an empty cell."""

    source: str
    licence: str = "unstated"
    split: str | None = None


def frames(folder: Path, problems: Problems, defaults: Defaults | None = None) -> Iterator[AnnotatedFrame]:
    """The frames of a folder with labels.csv, in the order of its rows.

    A row with a problem is skipped as a whole; a box with a problem takes its label's boxes of that frame with it,
    for they are no longer complete. An image in two rows is two frames, of which boxes belong to the first's entries.
    A frame without a group is a group of its own.

    Raises InvalidConfiguration where there is no labels.csv, AnnotationError where problems stop the run.
    """
    if not (folder / LABELS).is_file():
        raise InvalidConfiguration(f"{folder} is not a label table: it holds no {LABELS}")
    table = _Table(folder / LABELS, problems)
    usable = list(table.usable_rows())
    first = {row["image"]: row for _, row in reversed(usable)}
    boxes = _boxes(folder / BOXES, first, table.labels, problems)
    defaults = defaults or Defaults(folder.resolve().name)
    for line, row in usable:
        yield _frame(Place(folder / LABELS, line), row, table.labels, boxes.get(row["image"], {}), defaults)


def _frame(
    place: Place, row: Row, labels: Sequence[str], boxes: Mapping[str, tuple[Box, ...]], defaults: Defaults
) -> AnnotatedFrame:
    source = row.get("source") or defaults.source
    return AnnotatedFrame(
        image=place.file.parent / row["image"],
        entries={label: int(row[label]) for label in labels if row[label]},
        source=source,
        group=row.get("group") or f"{source}:{row['image']}",
        boxes=boxes,
        split=row.get("split") or defaults.split,
        licence=row.get("licence") or defaults.licence,
        place=place,
    )


class _Table:
    """labels.csv with its rows checked."""

    def __init__(self, path: Path, problems: Problems) -> None:
        self.path, self.problems = path, problems
        lines = list(csv_rows(path, problems, required=("image",)))
        self.labels: tuple[str, ...] = ()
        self.lines = lines
        if lines:
            self.labels = tuple(column for column in lines[0][1] if column not in ABOUT)
        self._check_labels()

    def _check_labels(self) -> None:
        bad = [label for label in self.labels if not re.fullmatch(LABEL_KEY, label)]
        if bad:
            self.problems.report(
                Kind.BAD_VALUE, self.path, 1, f"column {bad[0]!r} is neither a snake_case label nor one of {ABOUT}"
            )
        self.labels = tuple(label for label in self.labels if label not in bad)

    def usable_rows(self) -> Iterator[tuple[int, Row]]:
        first_line: dict[str, int] = {}
        for line, row in self.lines:
            if problem := self._problem(row):
                self.problems.report(problem[0], self.path, line, problem[1])
                continue
            image = row["image"]
            if image in first_line:
                message = f"image {image} has a row already, in line {first_line[image]}"
                self.problems.report(Kind.DUPLICATE, self.path, line, message)
            first_line.setdefault(image, line)
            yield line, row

    def _problem(self, row: Row) -> tuple[Kind, str] | None:
        image = row["image"]
        for label in self.labels:
            if row[label] not in ENTRIES:
                return Kind.BAD_VALUE, f"{label} is {row[label]!r}; allowed are 0, 1 and empty"
        if row.get("split", "") not in SPLITS:
            return Kind.BAD_VALUE, f"split is {row['split']!r}; allowed are train, fit, test and empty"
        if not image or not (self.path.parent / image).is_file():
            return Kind.MISSING_IMAGE, f"image {image!r} is not a file in {self.path.parent}"
        return None


def csv_rows(path: Path, problems: Problems, required: Sequence[str]) -> Iterator[tuple[int, Row]]:
    """Each row of a UTF-8 CSV file as a mapping from its header, stripped of spaces, with the line it starts in.

    A file that cannot be read, or lacks a required column, is one problem and yields nothing more.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _rows_under_header(file, path, problems, required)
    except (csv.Error, UnicodeDecodeError) as error:
        problems.report(Kind.BROKEN_FILE, path, None, f"not a UTF-8 CSV file: {error}")


def _rows_under_header(
    file: TextIO, path: Path, problems: Problems, required: Sequence[str]
) -> Iterator[tuple[int, Row]]:
    reader = csv.reader(file, strict=True)
    header = [column.strip() for column in next(reader, [])]
    missing = [column for column in required if column not in header]
    if missing or len(set(header)) != len(header):
        problems.report(
            Kind.BROKEN_FILE,
            path,
            1,
            f"the header is {','.join(header)!r}; it needs {', '.join(required)}, each column once",
        )
        return
    line = reader.line_num + 1
    for cells in reader:
        if cells and len(cells) != len(header):
            problems.report(Kind.BROKEN_FILE, path, line, f"{len(cells)} cells under a header of {len(header)}")
        elif cells:
            yield line, {column: cell.strip() for column, cell in zip(header, cells, strict=True)}
        line = reader.line_num + 1


def _boxes(path: Path, rows: Mapping[str, Row], labels: Sequence[str], problems: Problems) -> BoxesByImage:
    if not path.is_file():
        return {}
    reader = _BoxReader(path, rows, labels, problems)
    for line, row in csv_rows(path, problems, required=BOX_COLUMNS):
        reader.read(line, row)
    # Which boxes a broken line was about, nobody can tell: any of the frame's labels may lack one.
    broken = any(problem.file == path and problem.kind is Kind.BROKEN_FILE for problem in problems.found)
    return {} if broken else reader.complete()


class _BoxReader:
    """boxes.csv, row by row."""

    def __init__(self, path: Path, rows: Mapping[str, Row], labels: Sequence[str], problems: Problems) -> None:
        self.path, self.rows, self.labels, self.problems = path, rows, labels, problems
        self.boxes: dict[str, dict[str, list[Box]]] = defaultdict(lambda: defaultdict(list))
        self.incomplete: set[tuple[str, str]] = set()

    def read(self, line: int, row: Row) -> None:
        box, problem = self._box(row), self._problem(row)
        inside = clipped(box) if box else None
        if not problem and not inside:
            problem = Kind.DEGENERATE_BOX, f"the box {_corners(row)} has no area inside the frame"
        if problem or not inside or not box:
            self._skip(line, row, problem)
            return
        if sticks_out(box):
            self.problems.note(Kind.CLIPPED_BOX, self.path, line, f"the box {_corners(row)} leaves the frame; clipped")
        self.boxes[row["image"]][row["label"]].append(inside)

    def _box(self, row: Row) -> Box | None:
        try:
            return float(row["x0"]), float(row["y0"]), float(row["x1"]), float(row["y1"])
        except ValueError:
            return None

    def _problem(self, row: Row) -> tuple[Kind, str] | None:
        image, label = row["image"], row["label"]
        if label not in self.labels:
            return Kind.UNKNOWN_CLASS, f"label {label!r} is no column of {LABELS}; those are {', '.join(self.labels)}"
        if image not in self.rows:
            return Kind.MISSING_IMAGE, f"image {image!r} has no usable row in {LABELS}"
        if self.rows[image][label] != "1":
            entry = self.rows[image][label] or "unknown"
            return Kind.CONTRADICTION, f"a box of {label}, but {LABELS} says {entry} for {image}"
        if self._box(row) is None:
            return Kind.BAD_VALUE, f"the corners {_corners(row)} are not four numbers"
        return None

    def _skip(self, line: int, row: Row, problem: tuple[Kind, str] | None) -> None:
        self.incomplete.add((row["image"], row["label"]))
        if problem:
            self.problems.report(problem[0], self.path, line, problem[1])

    def complete(self) -> BoxesByImage:
        return {
            image: {label: tuple(found) for label, found in by_label.items() if (image, label) not in self.incomplete}
            for image, by_label in self.boxes.items()
        }


def _corners(row: Row) -> str:
    return f"{row['x0']}, {row['y0']}, {row['x1']}, {row['y1']}"
