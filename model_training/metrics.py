"""What is measured, in numpy alone and over known entries only.

# N = frames, L = labels, R = distinct scores
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Entries = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Measured:
    """A value with its 95 % interval, from `n` known entries of which `positives` are present; NaN where undefined.

    They are of so many `scenes`, which the interval draws again.
    """

    value: float
    low: float
    high: float
    n: int
    positives: int
    scenes: int


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Frames of similar probability: their mean probability, the share in which the label is present, their number."""

    probability: float
    frequency: float
    n: int


@dataclass(frozen=True, slots=True)
class Confusion:
    """Decisions against truth, in frames."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int

    @property
    def precision(self) -> float:
        """Share of the decided that are present; NaN where nothing is decided."""
        return _share(self.true_positive, self.true_positive + self.false_positive)

    @property
    def recall(self) -> float:
        """Share of the present that are decided; NaN where nothing is present."""
        return _share(self.true_positive, self.true_positive + self.false_negative)


def average_precision(present_N: NDArray[np.bool_], scores_N: Floats) -> float:
    """Sum over ranks of (recall step x precision); frames with equal scores enter together. NaN without a positive.

    Scores 0.9 (present), 0.8 (absent), 0.7 (present): 1/2 * 1/1 + 1/2 * 2/3.

    >>> round(average_precision(np.array([True, False, True]), np.array([0.9, 0.8, 0.7])), 4)
    0.8333
    """
    if not present_N.any():
        return float("nan")
    recall_R, precision_R = precision_recall(present_N, scores_N)
    return float(np.sum(np.diff(recall_R, prepend=0) * precision_R))


def precision_recall(present_N: NDArray[np.bool_], scores_N: Floats) -> tuple[Floats, Floats]:
    """Recall and precision at each distinct score, the highest first; needs a positive.

    >>> precision_recall(np.array([True, False, True]), np.array([0.9, 0.8, 0.8]))
    (array([0.5, 1. ]), array([1.        , 0.66666667]))
    """
    order = np.argsort(-scores_N, kind="stable")
    last_of_tie = np.append(np.diff(scores_N[order]) != 0, True)
    hits_R = np.cumsum(present_N[order])[last_of_tie]
    taken_R = (np.arange(len(order)) + 1)[last_of_tie]
    return hits_R / int(present_N.sum()), hits_R / taken_R


def confusion(present_N: NDArray[np.bool_], decided_N: NDArray[np.bool_]) -> Confusion:
    """Counts of the four ways in which a decision and the truth can meet."""
    pairs = ((present_N, decided_N), (~present_N, decided_N), (present_N, ~decided_N), (~present_N, ~decided_N))
    return Confusion(*(int((truth & decision).sum()) for truth, decision in pairs))


def expected_calibration_error(present_N: NDArray[np.bool_], probabilities_N: Floats, bins: int = 15) -> float:
    """Mean distance between probability and frequency over bins of equal mass (Nixon et al., 2019). NaN if empty.

    Equal probabilities share a bin, so the order of frames does not matter.

    >>> expected_calibration_error(np.array([True, False, True]), np.array([0.5, 0.5, 1.0]), bins=2)
    0.0
    """
    n = len(present_N)
    if n == 0:
        return float("nan")
    gaps = np.bincount(_equal_mass_bin(probabilities_N, bins), weights=probabilities_N - present_N)
    return float(np.abs(gaps).sum() / n)


def reliability_bins(
    present_N: NDArray[np.bool_], probabilities_N: Floats, bins: int = 15
) -> tuple[ReliabilityBin, ...]:
    """Bins of equal mass, as those of `expected_calibration_error`, the lowest probabilities first."""
    bin_N = _equal_mass_bin(probabilities_N, bins)
    return tuple(
        ReliabilityBin(float(probabilities_N[inside].mean()), float(present_N[inside].mean()), int(inside.sum()))
        for inside in (bin_N == number for number in np.unique(bin_N))
    )


def _equal_mass_bin(probabilities_N: Floats, bins: int) -> NDArray[np.intp]:
    return np.searchsorted(np.sort(probabilities_N), probabilities_N) * bins // len(probabilities_N)


def calibration_gap(present_N: NDArray[np.bool_], probabilities_N: Floats) -> float:
    """Mean probability less the share of present frames: above 0 where probabilities are too high. NaN if empty.

    A fit of temperature and bias makes it nearly 0 on what it was fitted on, so a test set on which it is not 0
    disagrees with that (calibration in the large; Van Calster et al., 2019).
    """
    return float(np.mean(probabilities_N - present_N)) if len(present_N) else float("nan")


def brier_score(present_N: NDArray[np.bool_], probabilities_N: Floats) -> float:
    """Mean squared distance between probability and truth (Brier, 1950). NaN if empty."""
    return float(np.mean((probabilities_N - present_N) ** 2)) if len(present_N) else float("nan")


def f1_score(present_N: NDArray[np.bool_], decided_N: NDArray[np.bool_]) -> float:
    """2 TP / (2 TP + FP + FN); 0 where nothing is present and nothing decided."""
    both = int((present_N & decided_N).sum())
    either = int(present_N.sum() + decided_N.sum())
    return 2 * both / either if either else 0.0


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def measured(
    metric: Callable[[NDArray[np.bool_], Floats], float],
    entries_N: Entries,
    scores_N: Floats,
    groups_N: Sequence[str],
    resamples: int = 1000,
    seed: int = 0,
) -> Measured:
    """`metric` over the known entries, with a percentile interval from resampling whole scene groups.

    Frames of one scene are alike, so resampling single frames would claim a certainty that is not there. The interval
    of the calibration error lies high, and may lie above its value: drawing frames again adds noise to it.
    """
    known = entries_N >= 0
    present_N, scores_N = entries_N[known] == 1, scores_N[known]
    value = metric(present_N, scores_N)
    groups = np.asarray(groups_N)[known].tolist()
    low, high = interval(lambda rows: metric(present_N[rows], scores_N[rows]), groups, resamples, seed)
    return Measured(value, low, high, int(known.sum()), int(present_N.sum()), len(set(groups)))


def interval(
    statistic: Callable[[NDArray[np.intp]], float], groups_N: Sequence[str], resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """The middle 95 % of `statistic` over row numbers drawn with replacement, whole groups at a time.

    Draws on which it is NaN are left out; NaN, NaN where all are.
    """
    groups, group_N, sizes_G = np.unique(groups_N, return_inverse=True, return_counts=True)
    rows_N, starts_G = np.argsort(group_N, kind="stable"), np.cumsum(sizes_G) - sizes_G
    random = np.random.default_rng(seed)
    draws = (random.integers(len(groups), size=len(groups)) for _ in range(resamples if len(groups) else 0))
    values = [statistic(rows_N[_ranges(starts_G[draw], sizes_G[draw])]) for draw in draws]
    defined = [value for value in values if not np.isnan(value)]
    if not defined:
        return float("nan"), float("nan")
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def _ranges(starts: NDArray[np.intp], sizes: NDArray[np.intp]) -> NDArray[np.intp]:
    """So many numbers from each start on, one range behind the other.

    >>> _ranges(np.array([7, 0]), np.array([2, 3]))
    array([7, 8, 0, 1, 2])
    """
    ends = np.cumsum(sizes)
    return np.repeat(starts - (ends - sizes), sizes) + np.arange(ends[-1])


def decidable(entries_NL: Entries) -> list[int]:
    """Numbers of the labels that have both kinds of known entries: of the others no scores are better than others."""
    return [j for j in range(entries_NL.shape[1]) if {0, 1} <= set(entries_NL[:, j].tolist())]


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
