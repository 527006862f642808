"""How a row is written and found again: CSV and JSON Lines, one row after the other."""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Final, Protocol

from service.errors import OutputUnusable
from service.scoring.resuming import WrittenRow
from service.scoring.rows import Answer, ModelFacts, Row, model_text

BEFORE_LABELS: Final = ("frame", "video_frame", "video_seconds", "width", "height")
AFTER_LABELS: Final = ("labels", "model", "problem", "detail")


class RowFormat(Protocol):
    """A format whose rows can be added one by one; `start` is what every file of it begins with."""

    start: bytes

    def head(self, model: ModelFacts) -> bytes:
        """What stands before the first row."""

    def line(self, row: Row, model: ModelFacts) -> bytes:
        """One row."""

    def written(self, stream: BinaryIO, name: str) -> Iterator[WrittenRow]:
        """The whole rows of a file; what is cut off at its end is left out. Raises OutputUnusable."""


class CsvRows:
    """One line a frame; `labels` are separated by spaces."""

    start = f"{','.join(BEFORE_LABELS)},".encode()

    def head(self, model: ModelFacts) -> bytes:
        return _csv_line(columns(model))

    def line(self, row: Row, model: ModelFacts) -> bytes:
        return _csv_line(cells(row, model).values())

    def written(self, stream: BinaryIO, name: str) -> Iterator[WrittenRow]:
        names: list[str] = []
        for end_byte, record in _whole_records(stream):
            fields = next(csv.reader(io.StringIO(record.decode("utf-8", "surrogateescape"), newline="")))
            if not names:
                names = fields
                _refuse_foreign(names, name)
            elif len(fields) != len(names):
                raise OutputUnusable(f"{name}, byte {end_byte}: a row has {len(fields)} cells, {len(names)} are named")
            else:
                yield _written_row(dict(zip(names, fields, strict=True)), end_byte)


class JsonLinesRows:
    """One JSON object a line: an entry of `frames` in the service's reply, with its place in a video and the model."""

    start = b'{"name": "'

    def head(self, model: ModelFacts) -> bytes:  # noqa: ARG002 - every row names its members
        return b""

    def line(self, row: Row, model: ModelFacts) -> bytes:
        told = entry(row) | {"model": model.members}
        return (json_text(told) + "\n").encode()

    def written(self, stream: BinaryIO, name: str) -> Iterator[WrittenRow]:
        end_byte = 0
        for number, line in enumerate(stream, start=1):
            is_whole = line.endswith(b"\n")
            end_byte += len(line)
            try:
                told = json.loads(line)
                model, failed = model_text(told["model"]), "problem" in told
                row = WrittenRow(told["name"], told.get("video_frame"), model, end_byte, failed)
            except (ValueError, KeyError, TypeError) as error:
                # A row that is cut is no JSON: what is JSON without a line's end, and no row, is somebody else's.
                if isinstance(error, ValueError) and not is_whole:
                    return
                raise OutputUnusable(f"{name}, line {number} is no row of roadcue predict: {line[:80]!r}") from error
            if is_whole:
                yield row


def columns(model: ModelFacts) -> list[str]:
    """The names of a table's columns. Raises OutputUnusable where a label is called like another column."""
    if taken := {*BEFORE_LABELS, *AFTER_LABELS} & model.thresholds.keys():
        raise OutputUnusable(f"labels {sorted(taken)} have the names of other columns; choose --format jsonl")
    return [*BEFORE_LABELS, *model.thresholds, *AFTER_LABELS]


def cells(row: Row, model: ModelFacts) -> dict[str, Any]:
    """A row of a table, by column; None where there is nothing to say."""
    place, outcome = row.place, row.outcome
    told = dict.fromkeys(columns(model))
    told |= {"frame": place.path, "video_frame": place.video_frame, "video_seconds": place.video_seconds}
    told |= {"model": str(model)}
    if isinstance(outcome, Answer):
        found = {"width": outcome.width, "height": outcome.height, "labels": " ".join(outcome.labels)}
        return told | found | dict(outcome.probabilities)
    return told | {"problem": outcome["code"], "detail": outcome["detail"]}


def entry(row: Row) -> dict[str, Any]:
    """A row as an entry of `frames` in the service's reply; with its place where it is of a video."""
    place, outcome = row.place, row.outcome
    told: dict[str, Any] = {"name": place.path}
    if place.video_frame is not None:
        told |= {"video_frame": place.video_frame, "video_seconds": place.video_seconds}
    return told | (answer_members(outcome) if isinstance(outcome, Answer) else {"problem": dict(outcome)})


def answer_members(answer: Answer) -> dict[str, Any]:
    """What the service's reply says of a frame that has an answer."""
    probabilities, labels = dict(answer.probabilities), list(answer.labels)
    return {"width": answer.width, "height": answer.height, "probabilities": probabilities, "labels": labels}


def json_text(told: Mapping[str, Any]) -> str:
    """JSON on one line, as UTF-8 where that can be: a file's name may be bytes that are no text."""
    text = json.dumps(told, ensure_ascii=False)
    return json.dumps(told) if re.search("[\ud800-\udfff]", text) else text


def _csv_line(values: Any) -> bytes:
    text = io.StringIO()
    # Only what ends a line is quoted, and a reader takes a bare carriage return for an end, too.
    csv.writer(text, lineterminator="\r\n").writerow(values)
    return (text.getvalue().removesuffix("\r\n") + "\n").encode("utf-8", "surrogateescape")


def _whole_records(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Where each record ends, and its bytes: a line, or several where a line's end is quoted."""
    record, end_byte = b"", 0
    for line in stream:
        record += line
        end_byte += len(line)
        if record.endswith(b"\n") and record.count(b'"') % 2 == 0:
            yield end_byte, record
            record = b""


def _written_row(cell: Mapping[str, str], end_byte: int) -> WrittenRow:
    number = cell["video_frame"]
    video_frame = int(number) if number.isdigit() else None
    return WrittenRow(cell["frame"], video_frame, cell["model"], end_byte, failed=bool(cell["problem"]))


def _refuse_foreign(names: list[str], name: str) -> None:
    if tuple(names[: len(BEFORE_LABELS)]) != BEFORE_LABELS or tuple(names[-len(AFTER_LABELS) :]) != AFTER_LABELS:
        raise OutputUnusable(f"{name} is no output of roadcue predict: its header is {','.join(names)[:200]!r}")
