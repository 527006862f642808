"""roadcue-train data: what is known about which label."""

import json
from pathlib import Path

import click
from rich.console import Console

from model_training.commands import labelled_data
from model_training.commands.arguments import DATA, FILE_TO_WRITE, check_free, quoted
from model_training.commands.result import RESULT_FORM, print_result
from model_training.data_report.counts import data_report
from model_training.data_report.page import save_html
from model_training.data_report.terminal import print_report


@click.command("data")
@DATA
@click.option("--output", type=FILE_TO_WRITE, default=Path("data-report.html"), help="HTML page to write.")
@click.option("--overwrite", is_flag=True, help="Replace the page if it is there.")
@RESULT_FORM
def command(data: Path, output: Path, overwrite: bool) -> None:
    """Report what DATA knows about each label.

    Says whether it is fit for one network on all labels.
    """
    check_free(output, overwrite)
    console = Console(stderr=True)
    table, problems = labelled_data.read(data, console)
    report = data_report(table, problems)
    with console.status(f"drawing {output}"):
        save_html(report, table, output)
    document = {**json.loads(report.to_json()), "written": [output]}
    print_result(document, lambda: print_report(report, Console()))
    click.echo(f"Written: {output}\nNext: roadcue-train train {quoted(data)}", err=True)
