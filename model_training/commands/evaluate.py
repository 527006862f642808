"""roadcue-train evaluate: a model file on held-out rows, as figures and as a page."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import click
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from model_training.commands import labelled_data
from model_training.commands.arguments import (
    DATA,
    EXISTING_FOLDER,
    FILE,
    FILE_TO_WRITE,
    MODEL,
    TEST_SETS,
    check_free,
    chosen_test_sets,
    quoted,
)
from model_training.commands.measured_file import print_figures
from model_training.commands.result import RESULT_FORM, print_result
from model_training.commands.trained_run import TrainedRun
from model_training.errors import InvalidConfiguration
from model_training.evaluation import judged
from model_training.evaluation_report.page import save_page
from model_training.evaluation_report.report import PARTS, QUICK_PARTS, EvaluationReport, Request, evaluation_report
from model_training.evaluation_report.served_model import ServedModel
from model_training.label_table import LabelTable
from model_training.metrics import Floats
from model_training.onnx_export import ServedNetwork
from model_training.parity import answers_alike
from model_training.teacher.file import read_teacher
from model_training.tracking import tracked_on
from service.inference.artifact import Artifact

COMPARED_FRAMES: Final = 8
"""Of the run's validation rows, to see whether the file was made of it."""


@click.command("evaluate")
@MODEL
@DATA
@TEST_SETS
@click.option("--output", type=FILE_TO_WRITE, default=Path("evaluation-report.html"), help="HTML page to write.")
@click.option("--overwrite", is_flag=True, help="Replace the page if it is there.")
@RESULT_FORM
@click.option(
    "--run",
    type=EXISTING_FOLDER,
    help="Run that the file was exported from: its held-out rows are measured too.  [default: none]",
)
@click.option(
    "--yardstick", type=FILE, help="CSV of another model's scores (image, LABEL...) to compare with.  [default: none]"
)
@click.option(
    "--part",
    "parts",
    type=click.Choice([*PARTS, "none", "all"]),
    multiple=True,
    default=QUICK_PARTS,
    help="Beside figures and curves: what to measure. Robustness takes as long as 41 times the figures.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, help="Seed of the noise and rain that are put into frames."
)
def command(
    model: Path,
    data: Path,
    test_sets: tuple[str, ...],
    output: Path,
    overwrite: bool,
    run: Path | None,
    yardstick: Path | None,
    parts: tuple[str, ...],
    seed: int,
) -> None:
    """Measure a model file on the test rows of DATA.

    Frames are answered as the service does. Writes one self-contained page with figures, curves, calibration, and the
    parts that are asked for. With --run also the rows that the run held out are looked at: where boxes are for the
    pointing game, for suspected label errors, and beside the test.
    """
    check_free(output, overwrite)
    console = Console(stderr=True)
    table, _ = labelled_data.read(data, console)
    chosen = chosen_test_sets(test_sets, table)
    if not chosen:
        raise InvalidConfiguration("the data has no test rows: give some of its sources or rows split = test")
    served = ServedModel.about(Artifact.read(model), table, torch.get_num_threads())
    request = Request(
        chosen, _held_out(run, served.artifact, table), _asked(parts), _yardstick(yardstick, table, chosen), seed
    )
    tracking = tracked_on(console)
    report = evaluation_report(served, table, request, tracking)
    save_page(report, served, output, tracking)
    document = {**json.loads(report.to_json()), "written": [output]}
    print_result(document, lambda: _print(report, Console()))
    click.echo(f"Written: {output}\nNext: roadcue serve --model {quoted(model)}", err=True)


def _asked(parts: Sequence[str]) -> tuple[str, ...]:
    return PARTS if "all" in parts else tuple(part for part in PARTS if part in parts)


def _yardstick(
    path: Path | None, table: LabelTable, test_sets: Mapping[str, Sequence[str]]
) -> tuple[str, Floats] | None:
    """Its name and scores [N, L]; raises InvalidConfiguration where there is nothing to compare on."""
    if path is None:
        return None
    scores_NL = read_teacher(path, table).scores_NL
    tested_N = np.asarray(table.splits) == "test"
    if not any(judged(table.rows(tested_N), scores_NL[tested_N], test_sets)):
        raise InvalidConfiguration(
            f"{path} scores no label's present and absent test rows, so there is nothing to compare; "
            "roadcue-train teach --rows test has a detector score all of them"
        )
    return path.stem, scores_NL


def _held_out(folder: Path | None, artifact: Artifact, table: LabelTable) -> dict[str, NDArray[np.intp]]:
    """Rows that the file was not trained on, by what they were for.

    Raises InvalidConfiguration where the file was not made of the run in `folder`.
    """
    if folder is None:
        return {}
    run = TrainedRun.read(folder, table)
    rows, size = run.rows, artifact.metadata.input
    asked = rows.validation[:COMPARED_FRAMES]
    network = ServedNetwork(run.network(), table.labels, artifact.metadata.calibration)
    same_size = (size.height, size.width) == (run.configuration.height, run.configuration.width)
    if not (same_size and answers_alike(network, artifact, [table.images[row] for row in asked])):
        raise InvalidConfiguration(
            f"{artifact.path} does not answer like the network of {folder}: rows that this run held out may be those "
            "that the file was trained on; give --run the run that it was exported from"
        )
    return {"validation": rows.validation, "calibration": rows.calibration}


def _print(report: EvaluationReport, console: Console) -> None:
    print_figures([*report.figures, *report.held_out_figures])
    for sentence in (*report.disagreements, *report.contradictions):
        console.print(f"[yellow]note[/] {sentence}", highlight=False)
    for table in (_yardstick_table(report), _pointing_table(report), _speed_table(report)):
        if table is not None and table.row_count:
            console.print(table)
    if report.suspects:
        console.print(f"{len(report.suspects)} entries are suspected to be wrong: the page shows them")


def _yardstick_table(report: EvaluationReport) -> Table | None:
    if report.yardstick is None:
        return None
    table = Table("test set", "label", "n", "ours", report.yardstick.name, "difference", title="Average precision")
    for row in report.yardstick.comparisons:
        difference = f"{row.difference:+.3f} ({row.low:+.3f} to {row.high:+.3f})"
        table.add_row(row.test_set, row.label, str(row.n), f"{row.ours:.3f}", f"{row.yardstick:.3f}", difference)
    return table


def _pointing_table(report: EvaluationReport) -> Table:
    table = Table(
        "label", "n", "in a box", "with tolerance", "by chance", title=f"Peak of evidence, {report.pointing_rows}"
    )
    for row in report.pointing or ():
        strict = f"{row.strict:.3f} ({row.strict_low:.3f} to {row.strict_high:.3f})"
        tolerant = f"{row.tolerant:.3f} ({row.tolerant_low:.3f} to {row.tolerant_high:.3f})"
        table.add_row(row.label, str(row.n), strict, tolerant, f"{row.by_chance:.3f}")
    return table


def _speed_table(report: EvaluationReport) -> Table:
    table = Table("file", "ms a frame", "times as fast", "", title="One CPU thread")
    for row in report.speeds or ():
        table.add_row(row.file, f"{row.frame_ms:.2f}", f"{row.ratio:.2f} ({row.low:.2f} to {row.high:.2f})", row.remark)
    return table
