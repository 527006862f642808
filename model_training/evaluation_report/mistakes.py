"""The known entries on which the network is most wrong.

# N = frames, L = labels
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from model_training.label_table import ABSENT, PRESENT, LabelTable
from model_training.metrics import Floats


@dataclass(frozen=True, slots=True)
class Mistake:
    """An entry and the probability of its label; `is_decided_wrong` where the threshold falls on the wrong side."""

    row: int
    label: str
    entry: int
    probability: float
    is_decided_wrong: bool

    @property
    def said(self) -> str:
        """What the table says."""
        return "present" if self.entry == PRESENT else "absent"


def worst_mistakes(
    table: LabelTable,
    probabilities_NL: Floats,
    thresholds: Mapping[str, float],
    rows: Sequence[int],
    most: int,
) -> list[Mistake]:
    """Per label, of `rows`, the `most` present entries of least and the `most` absent ones of largest probability.

    These have the largest loss. Of a scene only the worst frame is taken: a sequence makes one mistake many times.
    """
    return [
        mistake
        for label in table.labels
        for entry in (PRESENT, ABSENT)
        for mistake in _worst(table, probabilities_NL, label, entry, thresholds[label], rows)[:most]
    ]


def _worst(
    table: LabelTable, probabilities_NL: Floats, label: str, entry: int, threshold: float, rows: Sequence[int]
) -> list[Mistake]:
    j = table.labels.index(label)
    known = np.array([row for row in rows if table.entries_NL[row, j] == entry], np.intp)
    probabilities_N = probabilities_NL[known, j]
    order = np.argsort(probabilities_N if entry == PRESENT else -probabilities_N, kind="stable")
    worst = known[order].tolist()
    return [
        Mistake(row, label, entry, round(p, 4), (p >= threshold) != (entry == PRESENT))
        for row in _one_a_scene(table, worst)
        for p in (float(probabilities_NL[row, j]),)
    ]


def _one_a_scene(table: LabelTable, rows: Sequence[int]) -> Iterator[int]:
    seen: set[str] = set()
    for row in rows:
        if table.groups[row] not in seen:
            seen.add(table.groups[row])
            yield row
