"""Parquet, whose index stands at the file's end: rows are kept in a JSON Lines file beside it until all are there.

out.parquet.rows.jsonl    while frames are scored; a kill leaves it, and it can be gone on with
out.parquet               replaced in one step when the last row is there; then the other file goes
"""

import json
import os
import re
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from service.errors import OutputUnusable
from service.scoring.resuming import WrittenRows
from service.scoring.row_file import RowFile
from service.scoring.row_formats import AFTER_LABELS, BEFORE_LABELS, JsonLinesRows, columns, json_text
from service.scoring.rows import MODEL_MEMBERS, ModelFacts, Row, model_text

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_IN_GROUP: Final = 50_000


def rows_path(path: Path) -> Path:
    """Where the rows of a Parquet file are while it is made."""
    return path.with_name(f"{path.name}.rows.jsonl")


class ParquetFile:
    """A Parquet file of rows: a column for each label, `labels` as a list; `written` says what is there already.

    Raises OutputUnusable.
    """

    def __init__(self, path: Path, *, resume: bool) -> None:
        _require_library()
        self._path, self._rows_path = path, rows_path(path)
        if resume and path.exists() and not self._rows_path.exists():
            _unpack(path, self._rows_path)
        self._rows = RowFile(self._rows_path, JsonLinesRows(), resume=resume)

    @property
    def written(self) -> WrittenRows:
        return self._rows.written

    def begin(self, model: ModelFacts) -> None:
        columns(model)  # refuses labels that are called like other columns before anything is computed
        self._model = model
        self._rows.begin(model)

    def write(self, row: Row) -> None:
        self._rows.write(row)

    def end(self) -> None:
        self._rows.end()
        _pack(self._rows_path, self._path, list(self._model.thresholds))
        self._rows_path.unlink()

    def stop(self) -> None:
        """Leave the rows for another run."""
        self._rows.end()


def _pack(rows: Path, path: Path, labels: list[str]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    schema, unfinished = _schema(labels), path.with_name(f"{path.name}.tmp")
    try:
        with rows.open(encoding="utf-8") as lines, parquet.ParquetWriter(unfinished, schema) as file:
            while group := [_cells(json.loads(line), labels) for line in islice(lines, ROWS_IN_GROUP)]:
                file.write_table(pa.Table.from_pylist(group, schema))
        os.replace(unfinished, path)  # noqa: PTH105 - both names are ours
    except OSError as error:
        raise OutputUnusable(f"{path} cannot be written: {error}; the rows are in {rows}") from error


def _unpack(path: Path, rows: Path) -> None:
    """Write the rows of a finished file out again, so that others can be added."""
    import pyarrow as pa
    from pyarrow import parquet

    unfinished = rows.with_name(f"{rows.name}.tmp")
    try:
        with parquet.ParquetFile(path) as file, unfinished.open("w", encoding="utf-8") as lines:
            names = file.schema_arrow.names
            labels = names[len(BEFORE_LABELS) : -len(AFTER_LABELS)]
            if file.schema_arrow.names != _schema(labels).names:
                raise OutputUnusable(f"{path} is no output of roadcue predict: its columns are {', '.join(names)}")
            for batch in file.iter_batches(ROWS_IN_GROUP):
                lines.writelines(json_text(_entry(cell, labels)) + "\n" for cell in batch.to_pylist())
    except (OSError, pa.ArrowException) as error:
        raise OutputUnusable(f"{path} cannot be gone on with: {error}; begin anew with --overwrite") from error
    os.replace(unfinished, rows)  # noqa: PTH105


def _schema(labels: list[str]) -> "pa.Schema":
    import pyarrow as pa

    whole, real, text = pa.int32(), pa.float64(), pa.string()
    before = zip(BEFORE_LABELS, (text, pa.int64(), real, whole, whole), strict=True)
    after = zip(AFTER_LABELS, (pa.list_(text), text, text, text), strict=True)
    return pa.schema([*before, *((label, real) for label in labels), *after])


def _cells(told: dict[str, Any], labels: list[str]) -> dict[str, Any]:
    cells = {name: told.get(name) for name in ("video_frame", "video_seconds", "width", "height", "labels")}
    problem = told.get("problem", {})
    cells |= {"frame": _text(told["name"]), "model": model_text(told["model"])}
    cells |= {"problem": problem.get("code"), "detail": problem.get("detail") and _text(problem["detail"])}
    return cells | {label: told.get("probabilities", {}).get(label) for label in labels}


def _entry(cells: dict[str, Any], labels: list[str]) -> dict[str, Any]:
    told = dict(zip(MODEL_MEMBERS, cells["model"].rsplit(" ", len(MODEL_MEMBERS) - 1), strict=False))
    entry = {"name": _name(cells["frame"]), "model": dict.fromkeys(MODEL_MEMBERS) | told}
    if cells["video_frame"] is not None:
        entry |= {"video_frame": cells["video_frame"], "video_seconds": cells["video_seconds"]}
    if cells["problem"]:
        return entry | {"problem": {"code": cells["problem"], "detail": cells["detail"]}}
    probabilities = {label: cells[label] for label in labels}
    shown = {name: cells[name] for name in ("width", "height")}
    return entry | shown | {"probabilities": probabilities, "labels": cells["labels"]}


def _text(name: str) -> str:
    # Parquet's strings are UTF-8; a file's name may hold other bytes.
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _name(text: str) -> str:
    """The name that `_text` has written out; where a file is called like the text, it is that one."""
    exact = re.sub(rb"\\x([89a-f][0-9a-f])", lambda found: bytes.fromhex(found[1].decode()), text.encode())
    name = exact.decode("utf-8", "surrogateescape")
    return name if _text(name) == text and not os.path.lexists(text) else text


def _require_library() -> None:
    from importlib.util import find_spec

    if find_spec("pyarrow") is None:
        raise OutputUnusable("Parquet needs PyArrow: pip install 'roadcue[parquet]', or choose --format jsonl")
