"""Calibrated probabilities on held-out rows -> the probability from which each label is said to be there.

# N = frames, L = labels
"""

import numpy as np
from numpy.typing import NDArray

from model_training.label_table import PRESENT, UNKNOWN, LabelTable
from model_training.metrics import Floats, f1_score

UNDECIDED = 0.5
"""For a label whose known entries are all of one kind: nothing tells a better one from a worse."""


def best_f1_thresholds(table: LabelTable, probabilities_NL: Floats) -> dict[str, float]:
    """Per label the threshold with the best F1 over known entries, midway between the two scores it parts."""
    return {
        label: _best_f1(table.entries_NL[:, j], np.asarray(probabilities_NL[:, j], np.float64))
        for j, label in enumerate(table.labels)
    }


def _best_f1(entries_N: NDArray[np.int8], probabilities_N: NDArray[np.float64]) -> float:
    known = entries_N != UNKNOWN
    present, scores = entries_N[known] == PRESENT, probabilities_N[known]
    if present.all() or not present.any():
        return UNDECIDED
    levels = np.unique(scores)
    candidates = (levels[1:] + levels[:-1]) / 2 if len(levels) > 1 else levels
    best = max(candidates, key=lambda threshold: f1_score(present, scores >= threshold))
    return round(float(best), 4)
