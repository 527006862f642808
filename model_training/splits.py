"""Training, validation and calibration rows, apart by scene.

# G = groups, S = splits, D = counts to spread evenly, L = labels
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from model_training.errors import SplitError
from model_training.label_table import ABSENT, PRESENT, LabelTable

# Labels decide; a source is spread evenly where that costs them nothing.
SOURCE_WEIGHT = 0.25
REFINEMENTS = 3


def split_by_group(table: LabelTable, fractions: Mapping[str, float], seed: int) -> Mapping[str, NDArray[np.intp]]:
    """Row numbers for each named split, ascending; no group is on two sides, and no test row is in any.

    Every label's known positives and known negatives, and every source's frames, are spread as close to `fractions` as
    whole groups allow: groups are placed one by one, those with the scarcest entries first, each where it best reduces
    the distance from the fractions, and then moved while that reduces it further (in the spirit of iterative
    stratification, Sechidis et al., ECML 2011, with groups as units). The same table, fractions and seed give the same
    splits; the seed orders groups that count alike. "fit" rows were not drawn fairly, so nothing is chosen by them or
    calibrated on them: groups that have no others go to the first split and do not count in the fractions, and in a
    group that goes to another split they are used nowhere.

    With {"train": 0.8, "validation": 0.1, "calibration": 0.1} for example
    {"train": array([0, 2, ...]), "validation": array([1, ...]), "calibration": array([7, ...])}.

    Raises SplitError for fractions that are not positive or do not add up to 1, and where there are fewer groups than
    splits.
    """
    _check(fractions)
    tested = {group for group, split in zip(table.groups, table.splits, strict=True) if split == "test"}
    pinned = set(table.groups) - tested - {g for g, s in zip(table.groups, table.splits, strict=True) if s != "fit"}
    usable = np.array([row for row, group in enumerate(table.groups) if group not in tested | pinned], np.intp)
    names, group_of_row = np.unique([table.groups[row] for row in usable], return_inverse=True)
    if len(names) < len(fractions):
        raise SplitError(f"{len(names)} groups outside test cannot fill the splits {', '.join(fractions)}")
    shares_GD = _shares(table.rows(usable), group_of_row, len(names))
    split_of_group = _placed(shares_GD, np.array(list(fractions.values())), np.random.default_rng(seed))
    splits = {name: usable[split_of_group[group_of_row] == i] for i, name in enumerate(fractions)}
    first, *others = fractions
    for name in others:
        splits[name] = np.array([row for row in splits[name] if table.splits[row] != "fit"], np.intp)
    only_to_fit = np.array([row for row, group in enumerate(table.groups) if group in pinned], np.intp)
    return {**splits, first: np.sort(np.concatenate([splits[first], only_to_fit]))}


def _check(fractions: Mapping[str, float]) -> None:
    came = ", ".join(f"{name} {fraction}" for name, fraction in fractions.items()) or "none"
    if not fractions or any(not fraction > 0 for fraction in fractions.values()):
        raise SplitError(f"fractions are {came}; each must be above 0")
    if not math.isclose(sum(fractions.values()), 1, abs_tol=1e-6):
        raise SplitError(f"fractions are {came}; together they must be 1, not {sum(fractions.values()):g}")


def _shares(rows: LabelTable, group_of_row: NDArray[np.intp], groups: int) -> NDArray[np.float64]:
    """What share each group has of every count: positives and negatives per label, frames per source."""
    sources = np.array(rows.sources)[:, None] == np.unique(rows.sources)
    counts_ND = np.hstack([rows.entries_NL == PRESENT, rows.entries_NL == ABSENT, sources]).astype(np.float64)
    counts_GD = np.zeros((groups, counts_ND.shape[1]))
    np.add.at(counts_GD, group_of_row, counts_ND)
    counts_GD /= np.maximum(counts_ND.sum(axis=0), 1)
    counts_GD[:, 2 * len(rows.labels) :] *= SOURCE_WEIGHT
    return counts_GD


def _placed(
    shares_GD: NDArray[np.float64], fractions_S: NDArray[np.float64], random: np.random.Generator
) -> NDArray[np.intp]:
    """The split of each group: the heaviest first to where it fits best, then moved while that fits better."""
    shuffled = random.permutation(len(shares_GD))
    order = shuffled[np.argsort(-shares_GD[shuffled].sum(axis=1), kind="stable")]
    split_of_group = np.full(len(shares_GD), -1, np.intp)
    missing_SD = fractions_S[:, None] * shares_GD.sum(axis=0)
    for _ in range(1 + REFINEMENTS):
        for group in order:
            if split_of_group[group] >= 0:
                missing_SD[split_of_group[group]] += shares_GD[group]
            split = int(np.argmin(_misfit_S(missing_SD, shares_GD[group], fractions_S)))
            split_of_group[group] = split
            missing_SD[split] -= shares_GD[group]
    return _none_empty(split_of_group, order, len(fractions_S))


def _misfit_S(
    missing_SD: NDArray[np.float64], shares_D: NDArray[np.float64], fractions_S: NDArray[np.float64]
) -> NDArray[np.float64]:
    """By how much sum(missing^2 / fraction), the chi-square distance from the fractions, grows in each split."""
    growth_S: NDArray[np.float64] = ((missing_SD - shares_D) ** 2 - missing_SD**2).sum(axis=1) / fractions_S
    return growth_S


def _none_empty(split_of_group: NDArray[np.intp], order: NDArray[np.intp], splits: int) -> NDArray[np.intp]:
    """Each split has a group: one without takes the lightest group of the split with most groups."""
    for split in set(range(splits)) - set(split_of_group.tolist()):
        largest = np.bincount(split_of_group, minlength=splits).argmax()
        split_of_group[order[split_of_group[order] == largest][-1]] = split
    return split_of_group
