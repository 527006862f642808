"""A file or stream to which rows are added; a file can be gone on with after a kill."""

import os
from pathlib import Path
from typing import BinaryIO

from service.errors import OutputUnusable
from service.scoring.resuming import WrittenRows
from service.scoring.row_formats import RowFormat
from service.scoring.rows import ModelFacts, Row


class RowStream:
    """Writes rows to a stream, each at once and whole."""

    def __init__(self, stream: BinaryIO, form: RowFormat) -> None:
        self._stream, self._form = stream, form
        self._model: ModelFacts | None = None

    def begin(self, model: ModelFacts) -> None:
        self._model = model
        self._put(self._form.head(model))

    def write(self, row: Row) -> None:
        if self._model:
            self._put(self._form.line(row, self._model))

    def end(self) -> None:
        self._stream.flush()

    def stop(self) -> None:
        self.end()

    def _put(self, line: bytes) -> None:
        self._stream.write(line)
        self._stream.flush()


class RowFile:
    """A file of rows. Without `resume` it is written anew; with it, whole rows stay and a cut one is removed.

    `written` says what is there already. Raises OutputUnusable.
    """

    def __init__(self, path: Path, form: RowFormat, *, resume: bool) -> None:
        self._path, self._form = path, form
        self.written = self._rows_there() if resume else WrittenRows()

    def begin(self, model: ModelFacts) -> None:
        """Take the file up after its last whole row; refuse rows of another model or with other columns."""
        self._model, head = model, self._form.head(model)
        try:
            # Without a buffer: what is written is in the file, and nothing is left to fail when it is closed.
            self._file = self._path.open("r+b" if self.written.count else "wb", buffering=0)
        except OSError as error:
            raise _unwritable(self._path, error) from error
        if self.written.count:
            self._go_on(head)
        else:
            self._put(head)

    def write(self, row: Row) -> None:
        self._put(self._form.line(row, self._model))

    def end(self) -> None:
        self._file.close()

    def stop(self) -> None:
        self.end()

    def _rows_there(self) -> WrittenRows:
        try:
            with self._path.open("rb") as file:
                written = WrittenRows(self._form.written(file, str(self._path)))
                if not written.count:
                    self._refuse_foreign(file)
                return written
        except FileNotFoundError:
            return WrittenRows()
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def _refuse_foreign(self, file: BinaryIO) -> None:
        """A file without a whole row is written anew: it has to be empty, or what a kill left of our first row."""
        file.seek(0)
        begun = file.read(len(self._form.start))
        if not self._form.start.startswith(begun):
            raise OutputUnusable(
                f"{self._path} is no output of roadcue predict: it begins with {begun!r}; name another file, or begin "
                "anew with --overwrite"
            )

    def _go_on(self, head: bytes) -> None:
        last = self.written.last
        if last.model != str(self._model) or self._file.read(len(head)) != head:
            self._file.close()
            raise OutputUnusable(
                f"{self._path} holds rows of {last.model or 'no model'} with other columns or of another model than "
                f"{self._model}; name another file, or begin anew with --overwrite"
            )
        self._file.seek(last.end_byte)
        self._file.truncate()

    def _put(self, line: bytes) -> None:
        try:
            while line:
                line = line[self._file.write(line) :]
        except OSError as error:
            self._file.close()
            raise _unwritable(self._path, error) from error


def _unwritable(path: Path, error: OSError) -> OutputUnusable:
    return OutputUnusable(f"{path} cannot be written: {error.strerror or os.strerror(error.errno or 0)}")
