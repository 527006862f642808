"""Where rows go, and in which format: standard output, or a file by its suffix."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from service.errors import OutputUnusable
from service.scoring.documents import JsonWriter, TableWriter
from service.scoring.parquet_file import ParquetFile, rows_path
from service.scoring.resuming import WrittenRows
from service.scoring.row_file import RowFile, RowStream
from service.scoring.row_formats import CsvRows, JsonLinesRows
from service.scoring.rows import Writer

Form = Literal["table", "json", "jsonl", "csv", "parquet"]
FORM_OF_SUFFIX: Final[dict[str, Form]] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
RowsOfFile = RowFile | ParquetFile

_STREAMS: Final[dict[str, Callable[[], Writer]]] = {
    "table": lambda: TableWriter(sys.stdout),
    "json": lambda: JsonWriter(sys.stdout.buffer),
    "jsonl": lambda: RowStream(sys.stdout.buffer, JsonLinesRows()),
    "csv": lambda: RowStream(sys.stdout.buffer, CsvRows()),
}


def stream_writer(form: Form) -> Writer:
    """The writer to standard output. Raises OutputUnusable for a form that needs a file."""
    if form not in _STREAMS:
        raise OutputUnusable(f"format {form} needs a file: --output FILE.{form}")
    return _STREAMS[form]()


def file_writer(path: Path, form: Form | None, *, resume: bool, overwrite: bool) -> RowsOfFile:
    """The writer to a file. Raises OutputUnusable where it may not or cannot be written."""
    chosen = form or FORM_OF_SUFFIX.get(path.suffix.lower())
    if chosen is None or chosen not in FORM_OF_SUFFIX.values():
        raise OutputUnusable(
            f"{path} cannot be written as {chosen or 'its name says'}: a file is csv, jsonl or parquet, by its "
            "suffix or by --format"
        )
    _refuse_to_overwrite(path, chosen, resume or overwrite)
    if chosen == "parquet":
        return ParquetFile(path, resume=resume)
    return RowFile(path, CsvRows() if chosen == "csv" else JsonLinesRows(), resume=resume)


def rows_there(writer: Writer) -> WrittenRows:
    """What the output holds already."""
    return writer.written if isinstance(writer, RowsOfFile) else WrittenRows()


def _refuse_to_overwrite(path: Path, form: Form, allowed: bool) -> None:
    there = [file for file in (path, rows_path(path)) if file.is_file() and (file == path or form == "parquet")]
    if there and not allowed:
        raise OutputUnusable(f"{there[0]} is there already: --resume goes on with it, --overwrite begins anew")
