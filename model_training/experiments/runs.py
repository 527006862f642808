"""Each arm trained with each seed in a folder of its own, and what the teacher thinks of the rows that measure it.

# N = frames, L = labels
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model_training.errors import CheckpointError
from model_training.experiments.plan import Arm, Plan
from model_training.experiments.rows import SeedRows
from model_training.label_table import LabelTable
from model_training.measured_run import MeasuredRun, RunResult
from model_training.teacher.cells import DetectorCells
from model_training.trainer import Observer
from model_training.whole_files import written_whole

Done = dict[tuple[str, int], RunResult]
"""Results of runs by name of the arm and seed."""


@dataclass(frozen=True)
class Runs:
    """Trains the arms of `plan` in `folder`; `data` identifies the table. Arms that imitate imitate `detector`."""

    plan: Plan
    table: LabelTable
    data: str
    folder: Path
    device: torch.device
    detector: DetectorCells | None = None

    def train(self, arm: Arm, rows: SeedRows, observer: Observer) -> None:
        """Train one arm to the end of its budget and score the held-out rows, unless that has been done."""
        keep_opinions(rows.opinions_NL(), self.folder, rows.seed)
        self._run(arm, rows).train(rows.of_arm(arm), self.table.rows(rows.held_out), observer)

    def is_finished(self, arm: Arm, rows: SeedRows) -> bool:
        """Whether the arm's result is there; raises CheckpointError for one of other settings or data."""
        return self._run(arm, rows).is_finished()

    def _run(self, arm: Arm, rows: SeedRows) -> MeasuredRun:
        seed = rows.seed
        configuration = arm.configuration_of(seed)
        detector = self.detector if configuration.imitation_weight else None
        digest = rows.digest_of(arm, self.data + (detector.digest if detector else ""))
        return MeasuredRun(self.folder / arm.folder(seed), configuration, digest, self.device, detector)


def finished(plan: Plan, folder: Path) -> Done:
    """Arms and seeds whose training has finished; raises CheckpointError for one of other settings."""
    results = {
        (arm.name, seed): RunResult.load(folder / arm.folder(seed), arm.configuration_of(seed))
        for seed in plan.seeds
        for arm in plan.arms
    }
    return {run: result for run, result in results.items() if result is not None}


def keep_opinions(opinions_NL: NDArray[np.int8], folder: Path, seed: int) -> None:
    """Write down what the teacher is sure of on the held-out rows of a seed."""
    path = _opinions(folder, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as unfinished, unfinished.open("wb") as file:
        np.save(file, opinions_NL)


def kept_opinions(folder: Path, seed: int) -> NDArray[np.int8]:
    """What `keep_opinions` wrote; raises CheckpointError where it cannot be read."""
    path = _opinions(folder, seed)
    try:
        return np.asarray(np.load(path), np.int8)
    except (OSError, ValueError, EOFError) as problem:
        raise CheckpointError(f"{path} cannot be read ({problem}); go on with --resume to write it anew") from problem


def _opinions(folder: Path, seed: int) -> Path:
    return folder / f"seed_{seed}" / "opinions.npy"
