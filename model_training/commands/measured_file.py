"""A model file, read for the labels of the data and measured on its test sets."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from model_training.evaluation import figures
from model_training.evaluation_report.served_model import ServedModel, check_labels
from model_training.label_table import LabelTable
from model_training.model_card import FIGURE_COLUMNS, figure_rows
from model_training.tracking import Tracking
from service.inference.artifact import Artifact, Figure


def artifact_about(model: Path, table: LabelTable) -> Artifact:
    """The model file; raises InvalidConfiguration where it answers other labels than the data is about."""
    artifact = Artifact.read(model)
    check_labels(artifact, table)
    return artifact


def measured(
    model: Path, table: LabelTable, test_sets: Mapping[str, Sequence[str]], tracking: Tracking
) -> list[Figure]:
    """Every figure of the file on each test set, as the service answers; none where there are no test sets."""
    served = ServedModel.about(Artifact.read(model), table, torch.get_num_threads())
    tested = table.rows(np.asarray(table.splits) == "test")
    said = f"{served.metadata.precision} on test rows"
    return figures(tested, served.probabilities(tested.images, said, tracking), served.thresholds, test_sets)


def print_figures(figures: Sequence[Figure]) -> None:
    """One row per test set and label on the terminal."""
    table = Table(*FIGURE_COLUMNS)
    for row in figure_rows(figures):
        table.add_row(*row)
    Console().print(table)
