"""Which frames all arms of one seed see, and on which they are measured.

# N = frames, L = labels
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_training.augmentation.changes import DOUBTFUL, SURE
from model_training.comparison.rows import Rows, check_both_kinds, drawn_rows, frames_per_network
from model_training.experiments.plan import Arm, Plan, Teacher
from model_training.label_table import ABSENT, PRESENT, UNKNOWN, LabelTable
from model_training.teacher.file import read_teacher
from model_training.teacher.soft_targets import SoftTargets
from model_training.training_rows import TrainingRows, assemble


@dataclass(frozen=True)
class SeedRows:
    """One seed's split of `table`: held-out rows to measure on, train rows to draw from.

    Held out are the rows that a recipe sets aside to choose by and to calibrate on; here neither is done.
    """

    seed: int
    base: Arm
    assembled: TrainingRows

    @classmethod
    def of(cls, plan: Plan, table: LabelTable, teacher: Path | None, seed: int) -> "SeedRows":
        """The seed's split; raises InvalidConfiguration where a label cannot be learned or measured in it."""
        assembled = assemble(table, plan.base.configuration.model_copy(update={"seed": seed}), teacher)
        rows = cls(seed, plan.base, assembled)
        check_both_kinds(table, assembled.train, f"train rows of seed {seed}")
        check_both_kinds(table, rows.held_out, f"held-out rows of seed {seed}")
        return rows

    @property
    def held_out(self) -> Rows:
        """Rows that measure, ascending."""
        return self.assembled.held_out()

    def of_arm(self, arm: Arm) -> TrainingRows:
        """What the arm is told; train rows are repeated and stand for its whole budget of frames."""
        return replace(
            self.assembled,
            soft=_told(self.assembled.soft, arm.teacher, self.assembled.table),
            train=self._drawn(arm),
            calibration=np.empty(0, np.intp),
            teacher_hash="none" if arm.teacher == "none" else f"{self.assembled.teacher_hash}:{arm.teacher}",
        )

    def digest_of(self, arm: Arm, data: str) -> str:
        """SHA-256 of all that the arm learns from and is measured on; `data` identifies the table."""
        rows = self.of_arm(arm)
        return hashlib.sha256(
            f"{data}{rows.teacher_hash}{rows.train.tolist()}{self.held_out.tolist()}".encode()
        ).hexdigest()

    def opinions_NL(self) -> NDArray[np.int8]:
        """What the teacher is sure of on held-out rows where nobody labelled: 1, 0, or -1 where it is not."""
        probabilities_NL = self.assembled.soft.probabilities_NL[self.held_out]
        sure_NL = np.where(probabilities_NL >= SURE, PRESENT, np.where(probabilities_NL <= DOUBTFUL, ABSENT, UNKNOWN))
        return sure_NL.astype(np.int8)

    def _drawn(self, arm: Arm) -> Rows:
        """As many frames in every arm, in the same order where the arm does not change how they are drawn."""
        table, configuration = self.assembled.table, arm.configuration
        budget = frames_per_network(self.base.configuration, table) // configuration.batch_size
        frames = max(1, budget) * configuration.batch_size
        return drawn_rows(table, self.assembled.train, configuration, self.seed, frames)


def said_by(teacher: Path | None, table: LabelTable) -> Teacher:
    """What a teacher's file can say of the frames of `table`."""
    if teacher is None:
        return "none"
    return "boxes" if any(read_teacher(teacher, table).boxes) else "scores"


def _told(soft: SoftTargets, teacher: Teacher, table: LabelTable) -> SoftTargets:
    if teacher == "none":
        return SoftTargets.none(table)
    return replace(soft, hints=({},) * len(table)) if teacher == "scores" else soft
