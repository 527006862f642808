"""roadcue-train teach: a detector's boxes on the frames of DATA, as hints for entries that nobody labelled."""

import csv
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import click
import numpy as np
from rich.console import Console

from model_training.commands import labelled_data
from model_training.commands.arguments import CLASSES, DATA, FILE, FILE_TO_WRITE, check_free, class_numbers, quoted
from model_training.commands.result import RESULT_FORM, print_result
from model_training.errors import InvalidConfiguration
from model_training.teacher.detector import CORNER_DIGITS, YoloxDetector, taught
from model_training.teacher.file import BOX_COLUMNS, Hints
from model_training.tracking import tracked_on
from model_training.whole_files import written_whole


@click.command("teach")
@click.argument("detector", type=FILE)
@DATA
@click.option("--output", type=FILE_TO_WRITE, default=Path("teacher-boxes.csv"), help="CSV of boxes to write.")
@CLASSES
@click.option(
    "--rows",
    "which",
    type=click.Choice(["train", "test", "all"]),
    default="train",
    help="Frames to look at. train: those that are no test rows; test: what evaluate --yardstick compares on.",
)
@click.option("--threads", type=click.IntRange(min=1), default=os.cpu_count() or 1, help="Images looked at at a time.")
@click.option("--overwrite", is_flag=True, help="Replace the CSV if it is there.")
@RESULT_FORM
def command(
    detector: Path,
    data: Path,
    output: Path,
    classes: tuple[str, ...],
    which: str,
    threads: int,
    overwrite: bool,
) -> None:
    """Let a YOLOX detector look at the frames of DATA.

    By default at those that are not test rows. It looks at each frame, at its mirror image and at four parts of it, and
    writes one row per object with the mean of the three scores. Training takes the file with --teacher: a sure box
    shows where to look for a label that nobody labelled, and the best box's score says how likely it is there. evaluate
    takes one of test rows with --yardstick.
    """
    check_free(output, overwrite)
    console = Console(stderr=True)
    table, _ = labelled_data.read(data, console)
    tested_N = np.asarray(table.splits) == "test"
    images = table.rows({"train": ~tested_N, "test": tested_N, "all": np.ones_like(tested_N)}[which]).images
    if not images:
        raise InvalidConfiguration(f"--rows {which}: the data has no such frame")
    yolox = YoloxDetector(detector, class_numbers(classes, table.labels))
    boxes = _write(output, images, tracked_on(console)(taught(yolox, images, threads), "frames", len(images)))
    print_result({"frames": len(images), "boxes": boxes, "written": [output]}, lambda: _say(len(images), boxes))
    train, compare = f"train {quoted(data)} --teacher", f"evaluate MODEL {quoted(data)} --yardstick"
    click.echo(
        f"Written: {output}\nNext: roadcue-train {compare if which == 'test' else train} {quoted(output)}", err=True
    )


def _say(frames: int, boxes: Mapping[str, int]) -> None:
    click.echo(f"boxes on {frames:,} frames: " + (", ".join(f"{label} {n:,}" for label, n in boxes.items()) or "none"))


def _write(output: Path, images: Sequence[Path], found: Iterable[Hints]) -> Mapping[str, int]:
    """How many boxes of each label were written."""
    boxes = Counter[str]()
    with written_whole(output) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(BOX_COLUMNS)
        for image, hints in zip(images, found, strict=True):
            writer.writerows(_rows(os.path.relpath(image.resolve(), output.parent.resolve()), hints))
            boxes.update({label: len(seen) for label, seen in hints.items()})
    return boxes


def _rows(image: str, hints: Hints) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = [
        (image, label, f"{hint.probability:.4f}", *(f"{corner:.{CORNER_DIGITS}f}" for corner in hint.box))
        for label, boxes in hints.items()
        for hint in boxes
    ]
    return rows or [(image, *[""] * (len(BOX_COLUMNS) - 1))]
