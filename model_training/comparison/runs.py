"""Each network of a comparison trained in a folder of its own, and what it says of the rows that measure it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch

from model_training.comparison.plan import Cell, Plan
from model_training.comparison.rows import SeedRows, labels_only
from model_training.errors import CheckpointError
from model_training.label_table import LabelTable
from model_training.measured_run import MeasuredRun, RunResult
from model_training.trainer import Observer

TEST: Final = "test.npz"


@dataclass(frozen=True)
class Runs:
    """Trains and scores the cells of `plan` in `folder`; `data` identifies the table."""

    plan: Plan
    table: LabelTable
    data: str
    folder: Path
    device: torch.device

    def train(self, cell: Cell, rows: SeedRows, observer: Observer) -> None:
        """Train one network to the end of its budget and score the held-out rows, unless that has been done."""
        held_out = labels_only(self.table.rows(rows.held_out), cell.labels)
        self._run(cell).train(rows.of_cell(cell), held_out, observer)

    def is_finished(self, cell: Cell) -> bool:
        """Whether the cell's result is there; raises CheckpointError for one of other settings or data."""
        return self._run(cell).is_finished()

    def score_test(self, cell: Cell) -> None:
        """What a finished network says of the test rows; they are reported, and nothing is chosen by them."""
        if not (self.folder / cell.folder / TEST).exists():
            tested = self.table.rows(np.asarray(self.table.splits) == "test")
            self._run(cell).score(labels_only(tested, cell.labels), TEST)

    def _run(self, cell: Cell) -> MeasuredRun:
        return MeasuredRun(self.folder / cell.folder, self.plan.configuration_of(cell), self.data, self.device)


def finished(plan: Plan, folder: Path) -> dict[Cell, RunResult]:
    """The cells of `plan` whose training has finished; raises CheckpointError for other settings or mixed data."""
    results = {cell: RunResult.load(folder / cell.folder, plan.configuration_of(cell)) for cell in plan.cells()}
    there = {cell: result for cell, result in results.items() if result is not None}
    if len({result.data for result in there.values()}) > 1:
        raise CheckpointError(f"{folder} holds networks that were trained on different data; start anew in another")
    return there
