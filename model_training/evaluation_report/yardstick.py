"""Another model's scores beside ours, on the same entries.

# N = frames, L = labels
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_training.evaluation import Judged, judged
from model_training.label_table import UNKNOWN, LabelTable
from model_training.metrics import Floats, average_precision, interval, label_average_precisions


@dataclass(frozen=True, slots=True)
class Comparison:
    """Average precision of both on the entries that both score; `low` to `high` is the difference's 95 % interval."""

    test_set: str
    label: str
    ours: float
    yardstick: float
    difference: float
    low: float
    high: float
    n: int
    positives: int


def comparisons(
    table: LabelTable,
    ours_NL: Floats,
    yardstick_NL: Floats,
    test_sets: Mapping[str, Sequence[str]],
    resamples: int = 1000,
) -> list[Comparison]:
    """Ours less the yardstick's, per test set and label and for the mean over the set's labels.

    Entries that the yardstick has no score for (NaN) are left out for both. The interval resamples scenes, the same
    for both: on hard frames both fall, so their difference varies less than either.
    """
    both = list(judged(table, yardstick_NL, test_sets))
    return [
        comparison
        for name in test_sets
        if (of_set := [one for one in both if one.test_set == name])
        for comparison in (
            *(_of_label(one, ours_NL[one.rows_N, table.labels.index(one.label)], resamples) for one in of_set),
            _of_mean(table, ours_NL, yardstick_NL, of_set, resamples),
        )
    ]


def _of_label(theirs: Judged, ours_N: Floats, resamples: int) -> Comparison:
    present_N, theirs_N = theirs.present_N, theirs.scores_N

    def difference(rows: NDArray[np.intp]) -> float:
        return average_precision(present_N[rows], ours_N[rows]) - average_precision(present_N[rows], theirs_N[rows])

    values = average_precision(present_N, ours_N), average_precision(present_N, theirs_N)
    spread = interval(difference, theirs.groups_N, resamples)
    return _comparison(theirs.test_set, theirs.label, values, spread, len(present_N), int(present_N.sum()))


def _of_mean(
    table: LabelTable, ours_NL: Floats, theirs_NL: Floats, of_set: Sequence[Judged], resamples: int
) -> Comparison:
    rows = np.unique(np.concatenate([one.rows_N for one in of_set]))
    place = np.ix_(rows, np.array([table.labels.index(one.label) for one in of_set]))
    ours_NL, theirs_NL = ours_NL[place], theirs_NL[place]
    entries_NL = np.where(np.isnan(theirs_NL), np.int8(UNKNOWN), table.entries_NL[place])

    def means(drawn: NDArray[np.intp]) -> Iterator[float]:
        return (float(np.mean(label_average_precisions(entries_NL[drawn], x[drawn]))) for x in (ours_NL, theirs_NL))

    def difference(drawn: NDArray[np.intp]) -> float:
        ours, theirs = means(drawn)
        return ours - theirs

    ours, theirs = means(np.arange(len(rows)))
    spread = interval(difference, [table.groups[row] for row in rows], resamples)
    n, positives = sum(len(one.rows_N) for one in of_set), sum(int(one.present_N.sum()) for one in of_set)
    return _comparison(of_set[0].test_set, "mean", (ours, theirs), spread, n, positives)


def _comparison(
    test_set: str, label: str, values: tuple[float, float], spread: tuple[float, float], n: int, positives: int
) -> Comparison:
    # Where no resample tells anything, all that a difference can be; JSON knows no NaN.
    low, high = (-1.0, 1.0) if np.isnan(spread[0]) else spread
    ours, theirs = values
    difference = round(ours - theirs, 4)
    return Comparison(
        test_set, label, round(ours, 4), round(theirs, 4), difference, round(low, 4), round(high, 4), n, positives
    )
