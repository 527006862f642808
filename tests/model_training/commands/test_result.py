"""A result is words for a person and JSON for a program."""

import io
import json
import math
import sys
from pathlib import Path

import pytest

from model_training.commands.result import print_result


class Terminal(io.StringIO):
    """Says that it is a terminal."""

    def isatty(self) -> bool:
        return True


DOCUMENT = {"best": {"map": math.nan}, "written": [Path("a.csv")]}


def printed(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, **asked: bool) -> str:
    monkeypatch.setattr(sys, "stdout", stream)
    print_result(DOCUMENT, lambda: stream.write("in words"), **asked)
    return stream.getvalue()


def test_a_terminal_gets_words_unless_json_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed(Terminal(), monkeypatch) == "in words"
    assert json.loads(printed(Terminal(), monkeypatch, as_json=True))["written"] == ["a.csv"]


def test_a_pipe_gets_one_document_that_every_parser_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON has no NaN, though Python's parser takes it."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    told = json.loads(printed(io.StringIO(), monkeypatch), parse_constant=refuse)
    assert told == {"best": {"map": None}, "written": ["a.csv"]}
