"""A result is words for a person and JSON for a program."""

import io
import json
import math
import sys
from pathlib import Path

import click
import pytest

from model_training.commands.result import RESULT_FORM, print_result


class Terminal(io.StringIO):
    """Says that it is a terminal."""

    def isatty(self) -> bool:
        return True


DOCUMENT = {"best": {"map": math.nan}, "written": [Path("a.csv")]}


def printed(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, *flags: str) -> str:
    monkeypatch.setattr(sys, "stdout", stream)

    @click.command
    @RESULT_FORM
    def command() -> None:
        print_result(DOCUMENT, lambda: click.echo("in words"))

    command.main(flags, standalone_mode=False)
    return stream.getvalue()


def test_a_terminal_gets_words_unless_json_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed(Terminal(), monkeypatch) == "in words\n"
    assert json.loads(printed(Terminal(), monkeypatch, "--format", "json"))["written"] == ["a.csv"]


def test_a_pipe_gets_words_where_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed(io.StringIO(), monkeypatch, "--format", "table") == "in words\n"


def test_a_pipe_gets_one_document_that_every_parser_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON has no NaN, though Python's parser takes it."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    told = json.loads(printed(io.StringIO(), monkeypatch), parse_constant=refuse)
    assert told == {"best": {"map": None}, "written": ["a.csv"]}
