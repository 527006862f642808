"""What is measured, in numpy alone and over known entries only.

# N = frames, L = labels
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Entries = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Measured:
    """A value with its 95 % interval, from `n` known entries of which `positives` are present; NaN where undefined."""

    value: float
    low: float
    high: float
    n: int
    positives: int


def average_precision(present_N: NDArray[np.bool_], scores_N: Floats) -> float:
    """Sum over ranks of (recall step x precision); frames with equal scores enter together. NaN without a positive.

    Scores 0.9 (present), 0.8 (absent), 0.7 (present): 1/2 * 1/1 + 1/2 * 2/3.

    >>> round(average_precision(np.array([True, False, True]), np.array([0.9, 0.8, 0.7])), 4)
    0.8333
    """
    positives = int(present_N.sum())
    if positives == 0:
        return float("nan")
    order = np.argsort(-scores_N, kind="stable")
    last_of_tie = np.append(np.diff(scores_N[order]) != 0, True)
    hits = np.cumsum(present_N[order])[last_of_tie]
    taken = (np.arange(len(order)) + 1)[last_of_tie]
    recall_steps = np.diff(np.concatenate([[0], hits])) / positives
    return float(np.sum(recall_steps * hits / taken))


def expected_calibration_error(present_N: NDArray[np.bool_], probabilities_N: Floats, bins: int = 15) -> float:
    """Mean distance between probability and frequency over bins of equal mass (Nixon et al., 2019). NaN if empty."""
    if len(present_N) == 0:
        return float("nan")
    order = np.argsort(probabilities_N, kind="stable")
    groups = np.array_split(order, min(bins, len(order)))
    distances = [abs(probabilities_N[rows].mean() - present_N[rows].mean()) * len(rows) for rows in groups]
    return float(sum(distances) / len(order))


def brier_score(present_N: NDArray[np.bool_], probabilities_N: Floats) -> float:
    """Mean squared distance between probability and truth (Brier, 1950). NaN if empty."""
    return float(np.mean((probabilities_N - present_N) ** 2)) if len(present_N) else float("nan")


def f1_score(present_N: NDArray[np.bool_], decided_N: NDArray[np.bool_]) -> float:
    """2 TP / (2 TP + FP + FN); 0 where nothing is present and nothing decided."""
    both = int((present_N & decided_N).sum())
    either = int(present_N.sum() + decided_N.sum())
    return 2 * both / either if either else 0.0


def measured(
    metric: Callable[[NDArray[np.bool_], Floats], float],
    entries_N: Entries,
    scores_N: Floats,
    groups_N: Sequence[str],
    resamples: int = 1000,
    seed: int = 0,
) -> Measured:
    """`metric` over the known entries, with a percentile interval from resampling whole scene groups.

    Frames of one scene are alike, so resampling single frames would claim a certainty that is not there.
    """
    known = entries_N >= 0
    present_N, scores_N = entries_N[known] == 1, scores_N[known]
    value = metric(present_N, scores_N)
    low, high = _interval(metric, present_N, scores_N, np.asarray(groups_N)[known], resamples, seed)
    return Measured(value, low, high, int(known.sum()), int(present_N.sum()))


def _interval(
    metric: Callable[[NDArray[np.bool_], Floats], float],
    present_N: NDArray[np.bool_],
    scores_N: Floats,
    groups_N: NDArray[np.str_],
    resamples: int,
    seed: int,
) -> tuple[float, float]:
    members = [np.flatnonzero(groups_N == group) for group in np.unique(groups_N)]
    if not members:
        return float("nan"), float("nan")
    random = np.random.default_rng(seed)
    values = []
    for _ in range(resamples):
        rows = np.concatenate([members[g] for g in random.integers(len(members), size=len(members))])
        values.append(metric(present_N[rows], scores_N[rows]))
    defined = [value for value in values if not np.isnan(value)]
    if not defined:
        return float("nan"), float("nan")
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def mean_average_precision(entries_NL: Entries, scores_NL: Floats) -> float:
    """Mean of the labels' average precisions, labels without a known positive left out; NaN if none is left."""
    values = label_average_precisions(entries_NL, scores_NL)
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")


def label_average_precisions(entries_NL: Entries, scores_NL: Floats) -> list[float]:
    """Average precision of each label over its known entries; NaN for a label without a known positive."""
    columns = range(entries_NL.shape[1])
    return [
        average_precision(entries_NL[known, label] == 1, scores_NL[known, label])
        for label, known in ((j, entries_NL[:, j] >= 0) for j in columns)
    ]
