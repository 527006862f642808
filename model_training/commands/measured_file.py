"""A model file, read for the labels of the data and measured on its test sets."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from model_training.errors import InvalidConfiguration
from model_training.evaluation import figures, session_probabilities
from model_training.label_table import LabelTable
from model_training.model_card import FIGURE_COLUMNS, figure_rows
from service.inference.artifact import Artifact, Figure
from service.inference.session import ModelSession


def artifact_about(model: Path, table: LabelTable) -> Artifact:
    """The model file; raises InvalidConfiguration where it answers other labels than the data is about."""
    artifact = Artifact.read(model)
    if artifact.metadata.label_keys != table.labels:
        raise InvalidConfiguration(f"{model} answers {artifact.metadata.label_keys}, the data is about {table.labels}")
    return artifact


def measured(model: Path, table: LabelTable, test_sets: Mapping[str, Sequence[str]]) -> list[Figure]:
    """Every figure of the file on each test set, as the service answers; none where there are no test sets."""
    artifact = artifact_about(model, table)
    if not test_sets:
        return []
    tested, size = table.rows(np.asarray(table.splits) == "test"), artifact.metadata.input
    session = ModelSession(artifact, intra_op_threads=torch.get_num_threads())
    probabilities_NL = session_probabilities(session, tested.images, (size.height, size.width))
    thresholds = {label.key: label.threshold for label in artifact.metadata.labels}
    return figures(tested, probabilities_NL, thresholds, test_sets)


def print_figures(figures: Sequence[Figure]) -> None:
    """One row per test set and label on the terminal."""
    table = Table(*FIGURE_COLUMNS)
    for row in figure_rows(figures):
        table.add_row(*row)
    Console().print(table)
