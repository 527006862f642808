"""Which rows each network of a comparison learns from, and on which all of them are measured.

# N = frames, L = labels
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise

import numpy as np
from numpy.typing import NDArray

from model_training.comparison.plan import Cell, Plan
from model_training.configuration import TrainingConfiguration
from model_training.dataset import BalancedBatches
from model_training.errors import InvalidConfiguration
from model_training.label_table import ABSENT, PRESENT, LabelTable
from model_training.splits import split_by_group
from model_training.training_rows import TrainingRows, assemble

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class SeedRows:
    """What all networks of one seed share: held-out rows to measure on, and nested shares of the train rows.

    Held out are the rows that a recipe sets aside to choose by and to calibrate on; here neither is done.
    """

    plan: Plan
    table: LabelTable
    assembled: TrainingRows
    train_by_fraction: dict[float, Rows]

    @classmethod
    def of(cls, plan: Plan, table: LabelTable, seed: int) -> "SeedRows":
        """The seed's split; raises InvalidConfiguration where a label cannot be learned or measured in it."""
        assembled = assemble(table, plan.configuration.model_copy(update={"seed": seed}))
        rows = cls(plan, table, assembled, nested_shares(table, assembled.train, plan.fractions, seed))
        for fraction, train in rows.train_by_fraction.items():
            check_both_kinds(table, train, f"train rows at {fraction:.0%} of the scenes, seed {seed}")
        check_both_kinds(table, rows.held_out, f"held-out rows of seed {seed}")
        return rows

    @property
    def held_out(self) -> Rows:
        """Rows that measure, ascending."""
        return self.assembled.held_out()

    def of_cell(self, cell: Cell) -> TrainingRows:
        """The cell's rows, its labels alone; train rows are repeated and stand for its whole budget of frames."""
        narrowed = labels_only(self.assembled.table, cell.labels)
        return replace(
            self.assembled,
            table=narrowed,
            soft=type(self.assembled.soft).none(narrowed),
            train=self._drawn(cell),
            calibration=np.empty(0, np.intp),
        )

    def _drawn(self, cell: Cell) -> Rows:
        budget = frames_per_network(self.plan.configuration, self.table)
        if cell.budget == "entries":
            joint = self._drawn(replace(cell, labels=self.plan.labels, budget="frames"))
            known = int(labels_only(self.table, cell.labels).known_NL[joint].sum())
            budget = _whole_batches(known, self.plan.configuration.batch_size)
        train = self.train_by_fraction[cell.fraction]
        told = train[labels_only(self.table, cell.labels).known_NL[train].any(axis=1)]
        return drawn_rows(self.table, told, self.plan.configuration, cell.training_seed, budget)


def frames_per_network(configuration: TrainingConfiguration, table: LabelTable) -> int:
    """Frames that every network sees, whatever its share of the labels: the recipe's epochs over all train rows."""
    usable = sum(split != "test" for split in table.splits)
    train = usable * (1 - configuration.validation - configuration.calibration)
    return _whole_batches(configuration.epochs * train, configuration.batch_size)


def drawn_rows(table: LabelTable, rows: Rows, configuration: TrainingConfiguration, seed: int, frames: int) -> Rows:
    """`frames` of `rows`, drawn pass after pass by the recipe's rule for sources, as the trainer would."""
    sources = tuple(table.sources[row] for row in rows)
    batches = BalancedBatches(sources, configuration.source_exponent, configuration.batch_size, seed)
    passes: list[Rows] = []
    for epoch in count():
        passes.append(rows[batches.epoch_rows(epoch)])
        if sum(map(len, passes)) >= frames:
            return np.concatenate(passes)[:frames]
    raise AssertionError("a pass is never empty")  # pragma: no cover


def nested_shares(table: LabelTable, train: Rows, fractions: Sequence[float], seed: int) -> dict[float, Rows]:
    """For each of the ascending `fractions` the train rows of that share of the scenes; each holds the one before.

    Scenes are dealt out as evenly in labels and sources as the splits themselves.
    """
    steps = [later - earlier for earlier, later in pairwise((0.0, *fractions, 1.0))]
    names = [*map(str, fractions), "left out"]
    dealt = {name: step for name, step in zip(names, steps, strict=True) if step > 1e-9}
    parts = split_by_group(table.rows(train), dealt, seed) if len(dealt) > 1 else {names[0]: np.arange(len(train))}
    upto = np.empty(0, np.intp)
    shares = {}
    for fraction in fractions:
        upto = np.concatenate([upto, parts[str(fraction)]])
        shares[fraction] = train[np.sort(upto)]
    return shares


def labels_only(table: LabelTable, labels: tuple[str, ...]) -> LabelTable:
    """The same frames, known for some labels only; whoever learns one label is told nothing of the others."""
    columns = [table.labels.index(label) for label in labels]
    boxes = tuple({label: frame[label] for label in labels if label in frame} for frame in table.boxes)
    return replace(table, labels=labels, entries_NL=table.entries_NL[:, columns], boxes=boxes)


def data_digest(table: LabelTable) -> str:
    """SHA-256 of all that a comparison takes from its data: frames, entries and boxes, and what they are split by."""
    rows = sorted(zip(map(str, table.images), table.groups, table.splits, table.sources, strict=True))
    split_by = [(group, split, source) for _, group, split, source in rows]
    return hashlib.sha256(f"{table.content_hash(with_boxes=True)}{split_by}".encode()).hexdigest()


def check_both_kinds(table: LabelTable, rows: Rows, where: str) -> None:
    """Raise InvalidConfiguration where a label is not known both present and absent: none is learned or measured."""
    for label, entries_N in zip(table.labels, table.entries_NL[rows].T, strict=True):
        present, absent = (int((entries_N == kind).sum()) for kind in (PRESENT, ABSENT))
        if not (present and absent):
            raise InvalidConfiguration(
                f"{where}: {label} is present in {present} and absent in {absent} frames; a comparison needs both "
                "kinds. Label more, take larger fractions or hold out more (--set validation=0.2)"
            )


def _whole_batches(frames: float, batch_size: int) -> int:
    return max(1, round(frames / batch_size)) * batch_size
