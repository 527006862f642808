"""JSON annotation files element by element, each with the line it starts in.

The usual readers (json, pycocotools, scalabel) lose the line, without which a broken file of a million annotations
cannot be mended; so the outermost object and its arrays are walked here and `json` decodes what they hold.
"""

import json
import re
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from json import JSONDecodeError
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

WHITESPACE = re.compile(r"[ \t\n\r]*")


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a top-level array (`index` counts from 0), or one top-level value that is no array."""

    key: str
    index: int | None
    line: int
    value: object

    def __str__(self) -> str:
        return self.key if self.index is None else f"{self.key or 'frames'}[{self.index}]"


class BrokenJson(ValueError):
    """The file is not JSON, or its outermost value is neither an object nor an array."""

    def __init__(self, line: int | None, message: str) -> None:
        super().__init__(message)
        self.line, self.message = line, message


def elements(path: Path) -> Iterator[Element]:
    """Every element of the file's top-level arrays and every other top-level value, in file order.

    Elements of a file whose outermost value is an array have the key "". Raises BrokenJson, with the line, where the
    file stops being JSON: what came before is then of no use, because it cannot be complete.
    """
    try:
        yield from _Walk(path.read_text(encoding="utf-8-sig")).document()
    except JSONDecodeError as error:
        raise BrokenJson(error.lineno, f"not JSON: {error.msg} at column {error.colno}") from error
    except UnicodeDecodeError as error:
        raise BrokenJson(None, f"not UTF-8 text: {error}") from error
    except RecursionError as error:
        raise BrokenJson(None, "not an annotation file: nested too deeply") from error


class _Walk:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self._line, self._counted_to = 1, 0
        self._decoder = json.JSONDecoder(parse_constant=self._not_a_number)

    def document(self) -> Iterator[Element]:
        opening = self._next()
        if opening == "{":
            yield from self._object()
        elif opening == "[":
            yield from self._array("")
        else:
            self._fail("Expecting an object or an array")
        if self._next():
            self._fail("Extra data")

    def _object(self) -> Iterator[Element]:
        for _ in self._members("}"):
            line, key = self._value()
            if not isinstance(key, str):
                self._fail("Expecting a key")
            self._expect(":")
            if self._next() == "[":
                yield from self._array(key)
            else:
                line, value = self._value()
                yield Element(key, None, line, value)

    def _array(self, key: str) -> Iterator[Element]:
        for index in self._members("]"):
            line, value = self._value()
            yield Element(key, index, line, value)

    def _members(self, closing: str) -> Iterator[int]:
        """Step over the opening bracket, then stand before each member in turn, then step over the closing one."""
        self.at += 1
        index = 0
        while self._next() != closing or index:
            yield index
            index += 1
            if self._next() == closing:
                break
            self._expect(",")
        self.at += 1

    def _value(self) -> tuple[int, object]:
        self._next()
        line = self._line_here()
        try:
            value, self.at = self._decoder.raw_decode(self.text, self.at)
        except JSONDecodeError:
            raise
        except ValueError:  # Python reads no number of more than 4300 digits
            self._fail("A number of more digits than are read")
        return line, value

    def _next(self) -> str:
        blank = WHITESPACE.match(self.text, self.at)
        self.at = blank.end() if blank else self.at
        return self.text[self.at : self.at + 1]

    def _expect(self, character: str) -> None:
        if self._next() != character:
            self._fail(f"Expecting {character!r}")
        self.at += 1

    def _line_here(self) -> int:
        self._line += self.text.count("\n", self._counted_to, self.at)
        self._counted_to = self.at
        return self._line

    def _fail(self, message: str) -> NoReturn:
        raise JSONDecodeError(message, self.text, self.at)

    def _not_a_number(self, constant: str) -> NoReturn:
        self._fail(f"{constant} is no JSON number")


def first_error(error: ValidationError) -> str:
    """The first thing that is wrong with an element, in one line: where, what came, what is allowed."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    came = "" if first["type"] == "missing" else f", not {_short(first['input'])}"
    return f"{where or 'element'}: {first['msg'][:1].lower()}{first['msg'][1:]}{came}"


class _Beginning(reprlib.Repr):
    """`repr` up to 60 characters and more: of aliases in a few lines of YAML, all of it may fill the memory."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxlist = self.maxtuple = self.maxset = self.maxdict = 20
        self.maxstring = self.maxlong = self.maxother = 200

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        """In the file's order; the base class sorts the keys."""
        if not level:
            return "{...}" if x else "{}"
        return f"{{{', '.join(self._member(*member, level - 1) for member in islice(x.items(), self.maxdict))}}}"

    def _member(self, key: object, value: object, level: int) -> str:
        return f"{self.repr1(key, level)}: {self.repr1(value, level)}"


def _short(value: object) -> str:
    text = _Beginning().repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
