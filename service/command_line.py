"""What the command lines of both packages share: how commands end, and in which form they write their results."""

import errno
import os
import sys
from contextlib import suppress
from typing import Any, ClassVar, Final, Literal, TypeVar

import click

from service.errors import RoadcueError

CONTEXT_SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 120}
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells count
# Standard output is full or closed: what else is written says by its name what could not be.
NOT_TAKEN: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EBADF})


class Commands(click.Group):
    """Subcommands whose `failures` become one line and code 1, and so does what standard output does not take.

    Ctrl-C ends them with code 130; a KeyboardInterrupt may have words of its own.
    """

    failures: ClassVar[tuple[type[Exception], ...]] = (RoadcueError,)

    def main(self, *arguments: Any, **extra: Any) -> Any:
        """Runs the command line and exits."""
        if sys.stdout is None:
            # What takes nothing: only who writes there shall fail.
            sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
        try:
            try:
                return super().main(*arguments, **extra)
            finally:
                sys.stdout.flush()
        except OSError as refusal:
            if refusal.filename or refusal.errno not in {errno.EPIPE, *NOT_TAKEN}:
                raise
            _forget_output()
            # A reader who has left wants to hear no more.
            if refusal.errno != errno.EPIPE:
                click.echo(f"Error: standard output cannot be written: {refusal.strerror}", err=True)
            sys.exit(1)

    def invoke(self, ctx: click.Context) -> Any:
        """What the subcommand returns."""
        try:
            return super().invoke(ctx)
        except self.failures as failure:
            raise click.ClickException(_in_words(failure)) from failure
        except KeyboardInterrupt as stop:
            # The first line ends the one on which the terminal shows ^C.
            click.echo(f"\n{str(stop) or 'Stopped'}", err=True)
            ctx.exit(INTERRUPTED)


def _forget_output() -> None:
    """Let go of what is still to be written: Python would try again when it ends, and complain."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _in_words(failure: Exception) -> str:
    if isinstance(failure, OSError) and failure.filename:
        return f"{failure.filename}: {failure.strerror}"
    return str(failure)


Form = TypeVar("Form", bound=str)


def result_form(named: Form | None) -> Form | Literal["table", "json"]:
    """The form that was named, else a table on a terminal and JSON in a pipe."""
    return named or ("table" if sys.stdout.isatty() else "json")
