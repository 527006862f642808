"""What is known, and what a teacher thinks, of rows that calibration and thresholds are fitted on.

# N = frames, L = labels
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_training.label_table import PRESENT, LabelTable
from model_training.teacher.soft_targets import SoftTargets


@dataclass(frozen=True, slots=True)
class HeldOut:
    """How likely each label is there, in 0..1, and how much that counts: targets and weights [N, L].

    A known entry is 0 or 1 and counts 1. An unknown one is what a teacher says and counts as much as the teacher is
    reliable, or 0 without one. Frames are labelled where somebody looked for a label, and so are full of it; with the
    others in the fit, a probability means the same among frames that nobody chose.
    """

    labels: tuple[str, ...]
    targets_NL: NDArray[np.float64]
    weights_NL: NDArray[np.float64]

    @classmethod
    def of(cls, table: LabelTable, soft: SoftTargets | None = None) -> "HeldOut":
        soft = soft or SoftTargets.none(table)
        known_NL = table.known_NL
        taught_NL = ~known_NL & ~np.isnan(soft.probabilities_NL)
        targets_NL = np.where(taught_NL, soft.probabilities_NL, table.entries_NL == PRESENT)
        weights_NL = np.where(taught_NL, soft.reliability_L, known_NL)
        return cls(table.labels, targets_NL.astype(np.float64), weights_NL.astype(np.float64))
