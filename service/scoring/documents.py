"""What is made to be looked at or read as a whole: a table for people, and one JSON document."""

import json
from typing import Any, BinaryIO, Final, TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from service.scoring.row_formats import entry, json_text
from service.scoring.rows import Answer, ModelFacts, Row

# A table's columns are as wide as its rows need: so many are looked at, and held, at a time.
ROWS_IN_TABLE: Final = 200


class TableWriter:
    """A table for people; labels at or above their threshold are bold. A long one comes in parts."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream)

    def begin(self, model: ModelFacts) -> None:
        self._model = model
        self._table = self._empty()

    def write(self, row: Row) -> None:
        cells = self._cells(row.outcome) if isinstance(row.outcome, Answer) else [f"[red]{row.outcome['code']}[/red]"]
        self._table.add_row(escape(_printable(str(row.place))), *cells)
        if self._table.row_count == ROWS_IN_TABLE:
            self.end()
            self._table = self._empty()

    def end(self) -> None:
        if self._table.row_count:
            self._console.print(self._table)

    def stop(self) -> None:
        self.end()

    def _empty(self) -> Table:
        table = Table()
        table.add_column("frame", overflow="fold")
        for title in self._model.titles.values():
            table.add_column(escape(title), justify="right")
        return table

    def _cells(self, answer: Answer) -> list[str]:
        return [_cell(answer, label) for label in self._model.thresholds]


class JsonWriter:
    """One JSON object in the form of the service's reply to POST /predict, without its times; a line for each frame."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._frames = stream, 0

    def begin(self, model: ModelFacts) -> None:
        head: dict[str, Any] = {"model": {"name": model.name, "version": model.version}}
        head |= {"thresholds": dict(model.thresholds)}
        self._put(json.dumps(head, ensure_ascii=False)[:-1] + ', "frames": [')

    def write(self, row: Row) -> None:
        self._put((",\n" if self._frames else "\n") + json_text(entry(row)))
        self._frames += 1

    def end(self) -> None:
        self._put("\n]}\n")

    def stop(self) -> None:
        self.end()

    def _put(self, text: str) -> None:
        self._stream.write(text.encode())
        self._stream.flush()


def _cell(answer: Answer, label: str) -> str:
    shown = f"{answer.probabilities[label]:.3f}"
    return f"[bold green]{shown}[/bold green]" if label in answer.labels else f"[dim]{shown}[/dim]"


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()
