"""roadcue inspect."""

import sys
from pathlib import Path
from typing import Literal

import click

from service.command_line import result_form


@click.command("inspect")
@click.argument("model", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    help="How the card is written.  [default: table on a terminal, else json]",
)
def command(model: Path, form: Literal["table", "json"] | None) -> None:
    """Print a model file's card and run its self-test.

    Its variants are looked for beside FILE (street.int8.onnx beside street.onnx). Exit code 1 where the file is none of
    ours, or one of them does not reproduce its self-test.

    Next: roadcue serve --model FILE
    """
    from service.model_inspection import inspect_model, write_json, write_tables

    inspection = inspect_model(model)
    (write_tables if result_form(form) == "table" else write_json)(inspection, sys.stdout)
    if inspection.failure:
        raise click.ClickException(inspection.failure)
