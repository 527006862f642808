"""What a teacher's scores mean for entries that nobody labelled; never in place of a label.

# N = frames, L = labels
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from model_training.label_table import PRESENT, UNKNOWN, LabelTable
from model_training.teacher.file import NOTHING_FOUND, Hint, Hints, TeacherScores

_LEAST_PREVALENCE: Final = 0.01


@dataclass(frozen=True, slots=True)
class SoftTargets:
    """Probabilities [N, L], NaN where the entry is known or the teacher says nothing.

    `hints` holds per frame the teacher's boxes for labels that are unknown, or present without boxes of their own.
    `reliability_L` in 0..1 is the share of what there is to know about a label that the teacher knows.
    """

    probabilities_NL: NDArray[np.float32]
    hints: tuple[Hints, ...]
    reliability_L: NDArray[np.float32]

    @classmethod
    def none(cls, table: LabelTable) -> "SoftTargets":
        probabilities_NL = np.full(table.entries_NL.shape, np.nan, np.float32)
        return cls(probabilities_NL, ({},) * len(table), np.zeros(len(table.labels), np.float32))

    def rows(self, indices: NDArray[np.intp]) -> "SoftTargets":
        return SoftTargets(self.probabilities_NL[indices], tuple(self.hints[i] for i in indices), self.reliability_L)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a raw score of one label says: probability = sigmoid(slope * logit(score) + offset)."""

    slope: float
    offset: float

    def probabilities(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.asarray(expit(self.slope * _logit(scores) + self.offset))

    def at_prevalence(self, prevalence: float) -> "Meaning":
        """The same evidence where `prevalence` of the frames have the label, from a meaning fitted at one half."""
        return Meaning(self.slope, self.offset + float(logit(prevalence)))


def soft_targets(table: LabelTable, teacher: TeacherScores, fit_rows: Sequence[int] | NDArray[np.intp]) -> SoftTargets:
    """What a teacher's raw scores mean is learned on the known entries of `fit_rows` and applied where unknown.

    Per label a logistic regression of the entry on the score's logit (Platt, 1999), with both kinds of entries
    weighing the same: the labelled frames were often collected for being full of a label, so how often it is in the
    unlabelled ones is estimated from these (Saerens et al., Neural Computation 2002). A label whose known entries in
    `fit_rows` are all of one kind gets no soft targets, since nothing tells what its scores mean.
    """
    soft = SoftTargets.none(table)
    meanings: dict[str, Meaning] = {}
    for j, label in enumerate(table.labels):
        known = _Known.of(table.entries_NL[fit_rows, j], teacher.scores_NL[fit_rows, j])
        if known is None:
            continue
        balanced = known.meaning()
        unknown_N = (table.entries_NL[:, j] == UNKNOWN) & ~np.isnan(teacher.scores_NL[:, j])
        learned_from = np.intersect1d(np.flatnonzero(unknown_N), fit_rows)
        prevalence = estimated_prevalence(balanced.probabilities(teacher.scores_NL[learned_from, j]))
        meanings[label] = balanced.at_prevalence(prevalence)
        soft.probabilities_NL[unknown_N, j] = meanings[label].probabilities(teacher.scores_NL[unknown_N, j])
        soft.reliability_L[j] = known.explained(balanced)
    hints = tuple(_hints(table, row, boxes, meanings) for row, boxes in enumerate(teacher.boxes))
    return SoftTargets(soft.probabilities_NL, hints, soft.reliability_L)


def estimated_prevalence(balanced_N: NDArray[np.float64], steps: int = 200) -> float:
    """How often a label is present, from probabilities that hold where it is present in one half of the frames.

    Expectation maximisation on the likelihood ratios; 0.5 for no frames; kept within 0.01 and 0.99.
    """
    prevalence = 0.5
    for _ in range(steps if len(balanced_N) else 0):
        present_N = prevalence * balanced_N
        posterior_N = present_N / (present_N + (1 - prevalence) * (1 - balanced_N))
        prevalence = float(np.clip(posterior_N.mean(), _LEAST_PREVALENCE, 1 - _LEAST_PREVALENCE))
    return prevalence


@dataclass(frozen=True, slots=True)
class _Known:
    """Entries of one label that are known and that the teacher scored, of both kinds, and balancing weights."""

    present_N: NDArray[np.bool_]
    scores_N: NDArray[np.float32]
    weights_N: NDArray[np.float64]

    @classmethod
    def of(cls, entries_N: NDArray[np.int8], scores_N: NDArray[np.float32]) -> "_Known | None":
        usable = (entries_N != UNKNOWN) & ~np.isnan(scores_N)
        present_N = entries_N[usable] == PRESENT
        if present_N.all() or not present_N.any():
            return None
        weights_N = np.where(present_N, 0.5 / present_N.mean(), 0.5 / (1 - present_N.mean()))
        return cls(present_N, scores_N[usable], weights_N)

    def meaning(self) -> Meaning:
        from sklearn.linear_model import LogisticRegression  # it takes seconds, and most commands fit nothing

        fitted = LogisticRegression().fit(_logit(self.scores_N)[:, np.newaxis], self.present_N, self.weights_N)
        return Meaning(float(fitted.coef_[0, 0]), float(fitted.intercept_[0]))

    def explained(self, meaning: Meaning) -> float:
        """1 - cross-entropy / log 2: 1 for a teacher that is always right and sure, 0 for one that tosses a coin."""
        p_N = np.clip(meaning.probabilities(self.scores_N), 1e-6, 1 - 1e-6)
        surprise_N = -np.log(np.where(self.present_N, p_N, 1 - p_N))
        return max(0.0, 1 - float(np.average(surprise_N, weights=self.weights_N)) / math.log(2))


def _hints(table: LabelTable, row: int, boxes: Hints, meanings: Mapping[str, Meaning]) -> Hints:
    hints = {}
    for j, label in enumerate(table.labels):
        entry = table.entries_NL[row, j]
        unboxed = entry == PRESENT and label not in table.boxes[row]
        if label in meanings and label in boxes and (entry == UNKNOWN or unboxed):
            found = boxes[label]
            probabilities = meanings[label].probabilities(np.array([hint.probability for hint in found]))
            hints[label] = tuple(Hint(hint.box, float(p)) for hint, p in zip(found, probabilities, strict=True))
    return hints


def _logit(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(logit(np.clip(scores.astype(np.float64), NOTHING_FOUND, 1 - NOTHING_FOUND)))
