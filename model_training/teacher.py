"""A teacher's presence scores as soft targets for entries that nobody labelled; never in place of a label.

# N = frames, L = labels
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from model_training.errors import AnnotationError
from model_training.label_table import UNKNOWN, LabelTable
from model_training.sources.csv_table import csv_rows
from model_training.sources.problems import Problems

_CLIPPED = 1e-4


@dataclass(frozen=True, slots=True)
class SoftTargets:
    """Probabilities [N, L]; NaN where the entry is known or the teacher says nothing."""

    probabilities_NL: NDArray[np.float32]

    @classmethod
    def none(cls, table: LabelTable) -> "SoftTargets":
        return cls(np.full(table.entries_NL.shape, np.nan, np.float32))

    def rows(self, indices: NDArray[np.intp]) -> "SoftTargets":
        return SoftTargets(self.probabilities_NL[indices])


def soft_targets(
    table: LabelTable, scores_NL: NDArray[np.float32], fit_rows: Sequence[int] | NDArray[np.intp]
) -> SoftTargets:
    """Recalibrate raw scores in 0..1 (NaN: none) on the known entries of `fit_rows`, keep them where unknown.

    Logistic regression of the label on the score's logit, per label (Platt, 1999). A label whose known entries in
    `fit_rows` are all of one kind gets no soft targets, since nothing tells what its scores mean.
    """
    soft_NL = np.full(table.entries_NL.shape, np.nan, np.float32)
    for label in range(len(table.labels)):
        fitted = _fitted(table.entries_NL[fit_rows, label], scores_NL[fit_rows, label])
        rows = (table.entries_NL[:, label] == UNKNOWN) & ~np.isnan(scores_NL[:, label])
        if fitted is not None and rows.any():
            soft_NL[rows, label] = fitted.predict_proba(_logit(scores_NL[rows, label]))[:, 1]
    return SoftTargets(soft_NL)


def read_scores(path: Path, table: LabelTable) -> NDArray[np.float32]:
    """Scores [N, L] from a CSV `image, LABEL...` whose images are relative to its folder; NaN where it has none.

    Images that are not in the table and columns that are no labels are passed over. Raises AnnotationError, with file
    and line, for a file without an `image` column, an image with two rows and a score that is not within 0..1.
    """
    rows_by_image = {image.resolve(): row for row, image in enumerate(table.images)}
    scores_NL = np.full(table.entries_NL.shape, np.nan, np.float32)
    first_line: dict[str, int] = {}
    for line, record in csv_rows(path, Problems("stop"), required=("image",)):
        image = record["image"]
        if first_line.setdefault(image, line) != line:
            raise AnnotationError(path, line, f"image {image} has a row already, in line {first_line[image]}")
        row = rows_by_image.get((path.parent / image).resolve())
        if row is not None:
            scores_NL[row] = [_score(path, line, record.get(label)) for label in table.labels]
    return scores_NL


def _score(path: Path, line: int, text: str | None) -> float:
    if not text:
        return float("nan")
    try:
        score = float(text)
    except ValueError:
        score = float("nan")
    if not 0 <= score <= 1:
        raise AnnotationError(path, line, f"the score is {text!r}; it must be within 0..1 or empty")
    return score


def _fitted(entries_N: NDArray[np.int8], scores_N: NDArray[np.float32]) -> LogisticRegression | None:
    usable = (entries_N != UNKNOWN) & ~np.isnan(scores_N)
    if len(np.unique(entries_N[usable])) < 2:
        return None
    return LogisticRegression().fit(_logit(scores_N[usable]), entries_N[usable])


def _logit(scores_N: NDArray[np.float32]) -> NDArray[np.float64]:
    clipped = np.clip(scores_N.astype(np.float64), _CLIPPED, 1 - _CLIPPED)
    return np.log(clipped / (1 - clipped))[:, np.newaxis]
