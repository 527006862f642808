"""The result of a command on standard output: words and tables on a terminal, one JSON document in a pipe.

Everything else that a command says goes to standard error.
"""

import sys
from collections.abc import Callable, Mapping

import click
from pydantic_core import to_json


def print_result(document: Mapping[str, object], in_words: Callable[[], None], as_json: bool = False) -> None:
    """Print it for who reads: `in_words` for a person, as JSON for a program or where that is asked for."""
    if as_json or not sys.stdout.isatty():
        # JSON knows no NaN.
        click.echo(to_json(document, indent=2, inf_nan_mode="null").decode())
    else:
        in_words()
