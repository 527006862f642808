"""What tests of documents share: their code blocks, and the shell and the Python in which a reader tries them."""

import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from service.lazy_commands import LazyCommand
from tests.conftest import REPOSITORY

LIMIT_S = 300


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(text: str) -> list[str]:
    """The lines of every `sh` block, which are for any shell; those that a backslash joins are one."""
    return [line for block in blocks(text, "sh") for line in block.replace("\\\n", "").splitlines() if line]


def section(text: str, heading: str) -> str:
    """What stands under a heading of the second level."""
    _, found, behind = text.partition(f"\n## {heading}\n")
    assert found, f"there is no section {heading!r}"
    return behind.partition("\n## ")[0]


def rows(text: str, first_column: str) -> list[list[str]]:
    """The cells below the head of the table whose first column has this name."""
    _, found, behind = text.partition(f"| {first_column} |")
    assert found, f"there is no table of {first_column!r}"
    lines = behind.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def documents() -> list[Path]:
    """What a reader reads."""
    return [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def all_text() -> str:
    """All documents, one after the other."""
    return "\n".join(path.read_text(encoding="utf-8") for path in documents())


def strange_flags(program: str, commands: Mapping[str, click.Command]) -> Iterator[str]:
    """Each flag that a document gives to a subcommand of the program which has none of that name."""
    for name, words in re.findall(rf"(?<![\w-]){program} ([a-z]+)((?: [^`\n|#]*)?)", all_text()):
        command = commands.get(name)
        command = command.command if isinstance(command, LazyCommand) else command
        flags = {flag for parameter in command.params for flag in parameter.opts} if command else set()
        strange = set(re.findall(r"(?<=\s)--[a-z-]+", words)) - flags - {"--help"}
        yield from (f"{program} {name} {flag}" for flag in strange)


def shell(folder: Path, command: str) -> "subprocess.CompletedProcess[str]":
    """The command as a reader in this folder runs it."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    bash = ["bash", "-euo", "pipefail", "-c", command]
    return subprocess.run(
        bash, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=LIMIT_S
    )


def printed(programs: Sequence[str]) -> list[str]:
    """The lines that Python programs print, one after the other, sharing their names."""
    output, names = io.StringIO(), {"__name__": "tried"}
    with contextlib.redirect_stdout(output):
        for program in programs:
            exec(program, names)
    return output.getvalue().splitlines()
