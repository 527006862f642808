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


def split_by_group(table: LabelTable, fractions: Mapping[str, float], seed: int) -> Mapping[str, NDArray[np.intp]]:
    """Row numbers for each named split, ascending; no group is on two sides, and no test row is in any.

    Every label's known positives and known negatives, and every source's frames, are spread as close to `fractions` as
    whole groups allow: groups are placed one by one, those with the scarcest entries first, each where most of what it
    holds is still missing (iterative stratification after Sechidis et al., ECML 2011, by group). The same table,
    fractions and seed give the same splits; the seed orders groups that count alike.

    >>> split_by_group(table, {"train": 0.8, "validation": 0.1, "calibration": 0.1}, seed=0)  # doctest: +SKIP
    {'train': array([0, 2, ...]), 'validation': array([1, ...]), 'calibration': array([7, ...])}

    Raises SplitError for fractions that are not positive or do not add up to 1, and where there are fewer groups than
    splits.
    """
    _check(fractions)
    tested = {group for group, split in zip(table.groups, table.splits, strict=True) if split == "test"}
    usable = np.array([row for row, group in enumerate(table.groups) if group not in tested], np.intp)
    names, group_of_row = np.unique([table.groups[row] for row in usable], return_inverse=True)
    if len(names) < len(fractions):
        raise SplitError(f"{len(names)} groups outside test cannot fill the splits {', '.join(fractions)}")
    shares_GD = _shares(table.rows(usable), group_of_row, len(names))
    split_of_group = _placed(shares_GD, np.array(list(fractions.values())), np.random.default_rng(seed))
    return {name: usable[split_of_group[group_of_row] == i] for i, name in enumerate(fractions)}


def _check(fractions: Mapping[str, float]) -> None:
    came = ", ".join(f"{name} {fraction}" for name, fraction in fractions.items()) or "none"
    if not fractions or any(not fraction > 0 for fraction in fractions.values()):
        raise SplitError(f"fractions are {came}; each must be above 0")
    if not math.isclose(sum(fractions.values()), 1, abs_tol=1e-6):
        raise SplitError(f"fractions are {came}; together they must be 1, not {sum(fractions.values()):g}")


def _shares(rows: LabelTable, group_of_row: NDArray[np.intp], groups: int) -> NDArray[np.float64]:
    """What share each group has of every count: positives and negatives per label, frames per source."""
    sources = np.array(rows.sources)[:, None] == np.unique(rows.sources)
    counts_ND = np.hstack([rows.entries_NL == PRESENT, rows.entries_NL == ABSENT, sources * SOURCE_WEIGHT])
    totals_D = np.hstack([counts_ND[:, : 2 * len(rows.labels)].sum(axis=0), sources.sum(axis=0)])
    counts_GD = np.zeros((groups, counts_ND.shape[1]))
    np.add.at(counts_GD, group_of_row, counts_ND)
    return np.divide(counts_GD, np.maximum(totals_D, 1))


def _placed(
    shares_GD: NDArray[np.float64], fractions_S: NDArray[np.float64], random: np.random.Generator
) -> NDArray[np.intp]:
    """The split of each group; greedy, the heaviest group first."""
    shuffled = random.permutation(len(shares_GD))
    order = shuffled[np.argsort(-shares_GD[shuffled].sum(axis=1), kind="stable")]
    missing_SD = fractions_S[:, None] * shares_GD.sum(axis=0)
    split_of_group = np.zeros(len(shares_GD), np.intp)
    empty = set(range(len(fractions_S)))
    for placed, group in enumerate(order):
        allowed = sorted(empty) if len(empty) == len(order) - placed else range(len(fractions_S))
        split = max(allowed, key=lambda s: float(missing_SD[s] @ shares_GD[group]))
        split_of_group[group] = split
        missing_SD[split] -= shares_GD[group]
        empty.discard(split)
    return split_of_group
