"""Calibrated probabilities on held-out rows -> the probability from which each label is said to be there.

# N = frames, L = labels
"""

import numpy as np
from numpy.typing import NDArray

from model_training.label_table import PRESENT, UNKNOWN, LabelTable
from model_training.metrics import Floats, f1_score

UNDECIDED = 0.5
"""For a label whose known entries are all of one kind or all score alike: nothing tells better from worse."""


def best_f1_thresholds(table: LabelTable, probabilities_NL: Floats) -> dict[str, float]:
    """Per label the threshold with the best F1 over known entries, midway between the two scores it parts.

    A threshold that parts nothing decides nothing, so "always present" is not among the candidates; 0.5 where a
    label's known entries are all of one kind or all score alike.
    """
    return {
        label: _best_f1(table.entries_NL[:, j], np.asarray(probabilities_NL[:, j], np.float64))
        for j, label in enumerate(table.labels)
    }


def _best_f1(entries_N: NDArray[np.int8], probabilities_N: NDArray[np.float64]) -> float:
    known = entries_N != UNKNOWN
    present, scores = entries_N[known] == PRESENT, probabilities_N[known]
    levels = np.unique(scores)
    if present.all() or not present.any() or len(levels) == 1:
        return UNDECIDED
    best = max(range(1, len(levels)), key=lambda level: f1_score(present, scores >= levels[level]))
    return _midway(float(levels[best - 1]), float(levels[best]))


def _midway(below: float, above: float) -> float:
    """A short number between two scores; `above` itself where they are next to each other."""
    middle = (below + above) / 2
    # A fixed number of digits would round the threshold of a rare label to 0, and everything would be present.
    return next((short for digits in range(4, 17) if below < (short := round(middle, digits)) < above), above)
