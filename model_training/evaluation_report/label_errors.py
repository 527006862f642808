"""Known entries that a network which has not learned from them doubts: candidates to be looked at again.

# N = frames, L = labels
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from model_training.label_table import ABSENT, PRESENT, UNKNOWN, LabelTable
from model_training.metrics import Floats


@dataclass(frozen=True, slots=True)
class Suspect:
    """An entry, the probability of its label, and `trust`: the probability that the entry has in the network's eyes."""

    row: int
    label: str
    entry: int
    probability: float
    trust: float

    @property
    def said(self) -> str:
        """What the table says."""
        return "present" if self.entry == PRESENT else "absent"


def suspects(table: LabelTable, probabilities_NL: Floats) -> list[Suspect]:
    """Per label, the least trusted first; `table` must hold only rows that the network was not trained on.

    Confident learning (Northcutt et al., 2021, by cleanlab): an entry is suspected where the probability of the
    opposite is at least as large as it is on average among the entries that say the opposite. So it allows for
    probabilities that are too high or too low for a label as a whole. A label with entries of one kind has none.
    """
    return [suspect for label in range(len(table.labels)) for suspect in _of_label(table, probabilities_NL, label)]


def _of_label(table: LabelTable, probabilities_NL: Floats, label: int) -> Iterator[Suspect]:
    from cleanlab.filter import find_label_issues  # it takes seconds, with pandas and scikit-learn

    known = np.flatnonzero(table.entries_NL[:, label] != UNKNOWN)
    entries_N = table.entries_NL[known, label].astype(np.int64)
    if set(entries_N.tolist()) != {ABSENT, PRESENT}:
        return
    present_N = np.clip(probabilities_NL[known, label].astype(np.float64), 0, 1)
    of_each_N2 = np.stack([1 - present_N, present_N], axis=1)
    found = find_label_issues(
        entries_N,
        of_each_N2,
        filter_by="confident_learning",
        return_indices_ranked_by="self_confidence",
        n_jobs=1,  # more are processes, which cost more than they save
    )
    for i in found:
        trust = float(of_each_N2[i, entries_N[i]])
        yield Suspect(
            int(known[i]), table.labels[label], int(entries_N[i]), round(float(present_N[i]), 4), round(trust, 4)
        )
