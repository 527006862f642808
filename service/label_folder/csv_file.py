"""One CSV file with a row per image: read whole, replaced whole, so that it is complete at every moment."""

import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from service.errors import UnreadableLabelTable

IMAGE: Final = "image"
_PARTIAL: Final = ".partial"

Row = dict[str, str]


@dataclass(slots=True)
class CsvFile:
    """Columns in their order, `image` among them, and rows by image; a cell that a row lacks is empty."""

    columns: list[str]
    rows: dict[str, Row] = field(default_factory=dict)

    def add_columns(self, names: Iterable[str], before: str | None = None) -> None:
        """Take up the columns that are not there yet, in front of one that may be there, else at the end."""
        fresh = [name for name in names if name not in self.columns]
        place = self.columns.index(before) if before in self.columns else len(self.columns)
        self.columns[place:place] = fresh

    def encoded(self) -> bytes:
        """The file's bytes; of a folder's name that is no UTF-8, the bytes that are none are written out."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows.values())
        return text.getvalue().encode("utf-8", "backslashreplace")


def read_csv(path: Path, columns: Sequence[str]) -> CsvFile:
    """The file, or an empty one with `columns` where there is none. Raises UnreadableLabelTable, OSError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(_checked_rows(path, csv.reader(lines, strict=True)))
    except FileNotFoundError:
        return CsvFile(list(columns))
    except (csv.Error, UnicodeDecodeError) as error:
        raise UnreadableLabelTable(f"{path} is not a UTF-8 CSV file: {error}; mend it, no row was changed") from error
    return CsvFile(rows[0], _by_image(path, rows)) if rows else CsvFile(list(columns))


def replace_file(path: Path, content: bytes) -> None:
    """Put `content` in the place of the file at once: whoever reads, or is killed, meets the old or the new one.

    Only for the holder of the folder's lock: the unfinished file has one name.
    """
    partial = path.with_name(f".{path.name}{_PARTIAL}")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # else a power cut may leave the new name with nothing behind it
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def remove_partial(*folders: Path) -> None:
    """Remove what a kill has left unfinished; also only for the holder of the lock."""
    for folder in folders:
        for partial in folder.glob(f".*{_PARTIAL}"):
            partial.unlink(missing_ok=True)


def _checked_rows(path: Path, reader: Iterator[list[str]]) -> Iterator[list[str]]:
    """The rows that are not empty, stripped of spaces, the header first."""
    header = [cell.strip() for cell in next(reader, [])]
    if not header:
        return
    if IMAGE not in header or len(set(header)) != len(header):
        raise UnreadableLabelTable(f"{path}: the header is {','.join(header)!r}; it needs {IMAGE}, each column once")
    yield header
    for number, cells in enumerate(reader, start=2):
        if cells and len(cells) != len(header):
            raise UnreadableLabelTable(
                f"{path}: row {number} has {len(cells)} cells under a header of {len(header)}; mend it"
            )
        if cells:
            yield [cell.strip() for cell in cells]


def _by_image(path: Path, rows: Sequence[Sequence[str]]) -> dict[str, Row]:
    header, *rest = rows
    found: dict[str, Row] = {}
    for cells in rest:
        row = dict(zip(header, cells, strict=True))
        if found.setdefault(row[IMAGE], row) is not row:
            raise UnreadableLabelTable(f"{path} has two rows for the image {row[IMAGE]}; leave one of them")
    return found
