"""roadcue-train data: what is known about which label."""

from pathlib import Path

import click
from rich.console import Console

from model_training import data_description
from model_training.commands.arguments import DATA, FILE_TO_WRITE, check_free, quoted
from model_training.data_report.counts import data_report
from model_training.data_report.page import save_html
from model_training.data_report.terminal import print_report


@click.command("data")
@DATA
@click.option("--output", type=FILE_TO_WRITE, default=Path("data-report.html"), help="HTML page to write.")
@click.option("--overwrite", is_flag=True, help="Replace the page if it is there.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON instead of tables.")
def command(data: Path, output: Path, overwrite: bool, as_json: bool) -> None:
    """Say what is known about which label in DATA, and whether it is fit for one network on all labels."""
    check_free(output, overwrite)
    table, problems = data_description.load(data)
    report = data_report(table, problems)
    save_html(report, table, output)
    if as_json:
        click.echo(report.to_json())
        return
    print_report(report, Console())
    click.echo(f"Written: {output}\nNext: roadcue-train train {quoted(data)}")
