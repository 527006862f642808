"""The result of a command on standard output: words and tables on a terminal, one JSON document in a pipe.

Everything else that a command says goes to standard error.
"""

from collections.abc import Callable, Mapping
from typing import Final

import click
from pydantic_core import to_json

from service.command_line import result_form

_FORM: Final = f"{__name__}.form"


def _remember(context: click.Context, _: click.Parameter, form: str | None) -> None:
    context.meta[_FORM] = form


RESULT_FORM = click.option(
    "--format",
    type=click.Choice(["table", "json"]),
    expose_value=False,
    callback=_remember,
    help="How the result is written.  [default: for people on a terminal, else json]",
)
"""Of every command that prints by `print_result`."""


def print_result(document: Mapping[str, object], in_words: Callable[[], None]) -> None:
    """Print it for who reads: `in_words` for a person, as JSON for a program, or as --format says."""
    if result_form(click.get_current_context().meta[_FORM]) == "json":
        # JSON knows no NaN.
        click.echo(to_json(document, indent=2, inf_nan_mode="null").decode())
    else:
        in_words()
