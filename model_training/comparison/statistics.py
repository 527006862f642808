"""Paired differences between two arms, with intervals over seeds and scenes together.

# N = frames, L = labels, S = seeds, G = scene groups, R = resamples
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_training.metrics import Entries, Floats, label_average_precisions

METHOD = (
    "The difference is the mean over seeds of the difference in average precision on the same held-out frames. Its "
    "95 % interval comes from a pigeonhole bootstrap (Owen, Annals of Applied Statistics 2007): seeds and scene groups "
    "are drawn with replacement, each independently of the other, both arms and every drawn seed see the same draw of "
    "scenes, and the middle 95 % of the differences is taken. So it covers which scenes happened to be held out, and "
    "how a run's random numbers and its split happened to fall; with few seeds the latter is known only roughly. "
    "Intervals are per label, not corrected for looking at several."
)


@dataclass(frozen=True)
class PairedScores:
    """One seed: scores of two arms for the same frames; `entries_NL` are 1, 0, -1."""

    entries_NL: Entries
    groups_N: NDArray[np.str_]
    ours_NL: Floats
    theirs_NL: Floats


@dataclass(frozen=True, slots=True)
class Difference:
    """Average precision of two arms for one label, or their mean over labels, averaged over seeds.

    `low` and `high` bound ours less theirs; `n` known entries per seed, `positives` of them present, on average.
    """

    label: str
    ours: float
    theirs: float
    difference: float
    low: float
    high: float
    by_seed: tuple[float, ...]
    n: float
    positives: float


def paired_differences(
    seeds: Sequence[PairedScores], labels: tuple[str, ...], resamples: int = 2000, random_seed: int = 0
) -> list[Difference]:
    """One element per label, then one called "mean", the mean over labels, resampled together; see `METHOD`."""
    precisions_S2L = np.array([_precisions_2L(seed, np.arange(len(seed.groups_N))) for seed in seeds])
    drawn_RL = _with_mean(_resampled(seeds, resamples, random_seed))
    means_2L = _with_mean(precisions_S2L.mean(axis=0))
    by_seed_SL = _with_mean(precisions_S2L[:, 0] - precisions_S2L[:, 1])
    known_L, positives_L = (_counts(seeds, lowest) for lowest in (0, 1))
    return [
        Difference(
            label=label,
            ours=float(means_2L[0, j]),
            theirs=float(means_2L[1, j]),
            difference=float(means_2L[0, j] - means_2L[1, j]),
            low=_percentile(drawn_RL[:, j], 2.5),
            high=_percentile(drawn_RL[:, j], 97.5),
            by_seed=tuple(by_seed_SL[:, j].tolist()),
            n=float(known_L[j]),
            positives=float(positives_L[j]),
        )
        for j, label in enumerate((*labels, "mean"))
    ]


def _resampled(seeds: Sequence[PairedScores], resamples: int, random_seed: int) -> NDArray[np.float64]:
    """Differences [R, L], each the mean over drawn seeds on drawn scenes; NaN where no drawn seed has a positive."""
    random = np.random.default_rng(random_seed)
    groups = np.unique(np.concatenate([seed.groups_N for seed in seeds]))
    group_of_row = [np.searchsorted(groups, seed.groups_N) for seed in seeds]
    drawn = []
    for _ in range(resamples):
        times_G = np.bincount(random.integers(len(groups), size=len(groups)), minlength=len(groups))
        chosen = random.integers(len(seeds), size=len(seeds))
        found = {s: _difference_L(seeds[s], times_G[group_of_row[s]]) for s in set(chosen.tolist())}
        drawn.append(_nanmean([found[s] for s in chosen.tolist()]))
    return np.array(drawn)


def _difference_L(seed: PairedScores, times_N: NDArray[np.intp]) -> NDArray[np.float64]:
    ours_L, theirs_L = _precisions_2L(seed, np.repeat(np.arange(len(times_N)), times_N))
    return np.asarray(ours_L - theirs_L)


def _precisions_2L(seed: PairedScores, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    entries_NL = seed.entries_NL[rows]
    return np.array([label_average_precisions(entries_NL, scores[rows]) for scores in (seed.ours_NL, seed.theirs_NL)])


def _with_mean(values_xL: NDArray[np.float64]) -> NDArray[np.float64]:
    """One more column: the mean over labels, NaN where one of them is."""
    return np.concatenate([values_xL, values_xL.mean(axis=-1, keepdims=True)], axis=-1)


def _counts(seeds: Sequence[PairedScores], lowest: int) -> NDArray[np.float64]:
    """Entries of at least `lowest` per label and in all, averaged over seeds."""
    counts_L = np.mean([(seed.entries_NL >= lowest).sum(axis=0) for seed in seeds], axis=0)
    return np.append(counts_L, counts_L.sum())


def _nanmean(values_xL: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Mean of empty slice")  # then it is NaN, as it should be
        return np.asarray(np.nanmean(values_xL, axis=0))


def _percentile(values_R: NDArray[np.float64], percent: float) -> float:
    """Over the draws that tell something; NaN where none does."""
    defined = values_R[~np.isnan(values_R)]
    return float(np.percentile(defined, percent)) if len(defined) else float("nan")
