"""What the command lines of both packages share: how commands end, and in which form they write their results."""

import sys
from typing import Any, ClassVar, Final, Literal, TypeVar

import click

from service.errors import RoadcueError

CONTEXT_SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 120}
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells count


class Commands(click.Group):
    """Subcommands whose `failures` become one line and code 1.

    Ctrl-C ends them with code 130; a KeyboardInterrupt may have words of its own.
    """

    failures: ClassVar[tuple[type[Exception], ...]] = (RoadcueError,)

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


def _in_words(failure: Exception) -> str:
    if isinstance(failure, OSError) and failure.filename:
        return f"{failure.filename}: {failure.strerror}"
    return str(failure)


Form = TypeVar("Form", bound=str)


def result_form(named: Form | None) -> Form | Literal["table", "json"]:
    """The form that was named, else a table on a terminal and JSON in a pipe."""
    return named or ("table" if sys.stdout.isatty() else "json")
