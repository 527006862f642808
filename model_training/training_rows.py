"""Which rows a run learns from, chooses by and calibrates on; test rows are in none of them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model_training.configuration import TrainingConfiguration
from model_training.label_table import LabelTable
from model_training.splits import split_by_group
from model_training.teacher.file import read_teacher
from model_training.teacher.soft_targets import SoftTargets, soft_targets

SPLITS: Final = ("train", "validation", "calibration")
TEACHER: Final = "teacher"


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """Row numbers into `table`, apart by scene group, and the teacher's soft targets for all its rows."""

    table: LabelTable
    soft: SoftTargets
    train: NDArray[np.intp]
    validation: NDArray[np.intp]
    calibration: NDArray[np.intp]
    teacher_hash: str = "none"

    def used(self) -> NDArray[np.intp]:
        """All rows that training, choice and calibration use."""
        return np.concatenate([self.train, self.validation, self.calibration])

    def held_out(self) -> NDArray[np.intp]:
        """Rows that choose and rows that calibrate, ascending."""
        return np.sort(np.concatenate([self.validation, self.calibration]))

    def fingerprint(self) -> dict[str, str]:
        """What identifies each split's frames, entries and boxes, and the teacher's file: SHA-256 of each."""
        hashes = {name: self.table.rows(getattr(self, name)).content_hash(with_boxes=True) for name in SPLITS}
        return {**hashes, TEACHER: self.teacher_hash}


def assemble(table: LabelTable, configuration: TrainingConfiguration, teacher: Path | None = None) -> TrainingRows:
    """Split `table` as the configuration says; the same table and configuration give the same rows.

    A kept frame ("fit") that nobody has answered is learned from by nobody. `teacher` is a CSV of presence scores or
    boxes; what they mean is learned from the train rows alone.
    """
    held_out = {"validation": configuration.validation, "calibration": configuration.calibration}
    splits = split_by_group(table, {"train": 1 - sum(held_out.values()), **held_out}, configuration.seed)
    train = splits["train"][_answered(table)[splits["train"]]]
    soft = SoftTargets.none(table)
    if teacher is not None:
        soft = soft_targets(table, read_teacher(teacher, table), train)
    teacher_hash = hashlib.sha256(teacher.read_bytes()).hexdigest() if teacher else "none"
    return TrainingRows(table, soft, train, splits["validation"], splits["calibration"], teacher_hash=teacher_hash)


def _answered(table: LabelTable) -> NDArray[np.bool_]:
    """[N] whether a row is more than a question to a person."""
    answered_N: NDArray[np.bool_] = (np.asarray(table.splits) != "fit") | table.known_NL.any(axis=1)
    return answered_N
