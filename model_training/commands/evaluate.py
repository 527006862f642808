"""roadcue-train evaluate: a model file on the test rows."""

import json
from pathlib import Path

import click

from model_training import data_description
from model_training.commands.arguments import DATA, MODEL, TEST_SETS, chosen_test_sets
from model_training.commands.measured_file import measured, print_figures
from model_training.errors import InvalidConfiguration


@click.command("evaluate")
@MODEL
@DATA
@TEST_SETS
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(model: Path, data: Path, test_sets: tuple[str, ...], as_json: bool) -> None:
    """Measure a model file on the test rows of DATA, as the service answers them."""
    table, _ = data_description.load(data)
    found = measured(model, table, chosen_test_sets(test_sets, table))
    if not found:
        raise InvalidConfiguration("the data has no test rows: give some of its sources or rows split = test")
    if as_json:
        click.echo(json.dumps([figure.model_dump() for figure in found], indent=2))
    else:
        print_figures(found)
