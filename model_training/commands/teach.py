"""roadcue-train teach: a detector's boxes on the frames of DATA, as hints for entries that nobody labelled."""

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.progress import track

from model_training import data_description
from model_training.commands.arguments import CLASSES, DATA, FILE, FILE_TO_WRITE, check_free, class_numbers, quoted
from model_training.teacher.detector import YoloxDetector, taught
from model_training.teacher.file import BOX_COLUMNS, Hints


@click.command("teach")
@click.argument("detector", type=FILE)
@DATA
@click.option("--output", type=FILE_TO_WRITE, default=Path("teacher-boxes.csv"), help="CSV of boxes to write.")
@CLASSES
@click.option("--threads", type=click.IntRange(min=1), default=os.cpu_count() or 1, help="Images looked at at a time.")
@click.option("--overwrite", is_flag=True, help="Replace the CSV if it is there.")
def command(detector: Path, data: Path, output: Path, classes: tuple[str, ...], threads: int, overwrite: bool) -> None:
    """Let a YOLOX detector look at the frames of DATA that are not test rows.

    It looks at each frame, at its mirror image and at four parts of it, and writes one row per object with the mean of
    the three scores. Training takes the file with --teacher: a sure box shows where to look for a label that nobody
    labelled, and the best box's score says how likely it is there.
    """
    check_free(output, overwrite)
    table, _ = data_description.load(data)
    images = table.rows(np.asarray(table.splits) != "test").images
    yolox = YoloxDetector(detector, class_numbers(classes))
    found = track(taught(yolox, images, threads), "Frames", len(images), console=Console(stderr=True))
    _write(output, images, found)
    click.echo(f"Written: {output}\nNext: roadcue-train train {quoted(data)} --teacher {quoted(output)}")


def _write(output: Path, images: Sequence[Path], found: Iterable[Hints]) -> None:
    unfinished = output.with_suffix(".unfinished")
    with unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(BOX_COLUMNS)
        for image, hints in zip(images, found, strict=True):
            writer.writerows(_rows(os.path.relpath(image.resolve(), output.parent.resolve()), hints))
    unfinished.replace(output)


def _rows(image: str, hints: Hints) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = [
        (image, label, f"{hint.probability:.4f}", *(f"{corner:.4f}" for corner in hint.box))
        for label, boxes in hints.items()
        for hint in boxes
    ]
    return rows or [(image, *[""] * (len(BOX_COLUMNS) - 1))]
