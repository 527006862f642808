"""Is this data fit for one network on several labels? Counts, conditions and warnings.

# N = frames, L = labels
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model_training.label_table import ABSENT, PRESENT, UNKNOWN, LabelTable
from model_training.sources.problems import Problems

MAX_RATIO = 10.0
"""Beyond this, one label has so much more data than another that the amounts are not similar."""
FEW_ENTRIES = 500
"""Fewer known positives or negatives than this leave a label to chance."""
FRAMES_TO_NAME_A_SOURCE = 20
"""In a source of at least this many known entries, all of one value, the value gives the source away."""

Verdict = Literal["holds", "does not hold", "cannot be told"]


@dataclass(frozen=True, slots=True)
class Entries:
    """How many entries of a label are positive, negative and unknown."""

    positive: int
    negative: int
    unknown: int

    @property
    def known(self) -> int:
        """Positive and negative."""
        return self.positive + self.negative

    @property
    def total(self) -> int:
        """One entry a frame."""
        return self.known + self.unknown


@dataclass(frozen=True, slots=True)
class Condition:
    """One of the conditions under which one network on several tasks is expected to pay, and whether it holds."""

    name: str
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class SourceCounts:
    """One source's frames in one split, and what is known in them per label, in the order of the report's labels."""

    source: str
    split: str
    licence: str
    frames: int
    groups: int
    boxed: int
    entries: tuple[Entries, ...]


@dataclass(frozen=True, slots=True)
class DataReport:
    """All that the counts of a label table say.

    `training` counts the rows that may be trained on (not test), `test` the others; both are in the order of `labels`.
    `both_known[j][k]` is in how many rows for training the labels j and k are both known, `both_present[j][k]` in how
    many of those both are present. `warnings` concern the rows for training.
    """

    labels: tuple[str, ...]
    frames_for_training: int
    frames_for_test: int
    groups: int
    training: tuple[Entries, ...]
    test: tuple[Entries, ...]
    sources: tuple[SourceCounts, ...]
    both_known: tuple[tuple[int, ...], ...]
    both_present: tuple[tuple[int, ...], ...]
    conditions: tuple[Condition, ...]
    warnings: tuple[str, ...]
    conflicts: tuple[str, ...]
    problem_counts: Mapping[str, int]
    problems: tuple[str, ...]
    note_counts: Mapping[str, int]

    def to_json(self) -> str:
        """The report as a JSON object with the fields of this class."""
        return json.dumps(asdict(self), indent=2)


def data_report(table: LabelTable, problems: Problems) -> DataReport:
    """Count what is known, and say whether the conditions for multi-task learning hold as far as counts can tell."""
    for_test = np.array([split == "test" for split in table.splits], bool)
    training_NL = table.entries_NL[~for_test]
    training = _entries(training_NL)
    sources = _sources(table)
    present_NL, known_NL = (training_NL == PRESENT).astype(np.int64), (training_NL != UNKNOWN).astype(np.int64)
    return DataReport(
        labels=table.labels,
        frames_for_training=len(training_NL),
        frames_for_test=int(for_test.sum()),
        groups=len(set(table.groups)),
        training=training,
        test=_entries(table.entries_NL[for_test]),
        sources=sources,
        both_known=_nested(known_NL.T @ known_NL),
        both_present=_nested(present_NL.T @ present_NL),
        conditions=(_similar_amounts(table.labels, training), *CONDITIONS_BEYOND_COUNTS),
        warnings=(*_scarcity(table.labels, training), *_telltale_sources(table.labels, sources)),
        conflicts=tuple(str(conflict) for conflict in table.conflicts),
        problem_counts={kind.value: count for kind, count in problems.counts().items()},
        problems=tuple(str(problem) for problem in problems.found),
        note_counts={kind.value: count for kind, count in problems.note_counts().items()},
    )


def _entries(entries_NL: NDArray[np.int8]) -> tuple[Entries, ...]:
    counts = ([int((entries_N == value).sum()) for value in (PRESENT, ABSENT, UNKNOWN)] for entries_N in entries_NL.T)
    return tuple(Entries(*of_label) for of_label in counts)


def _nested(counts_LL: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(count) for count in row) for row in counts_LL)


def _sources(table: LabelTable) -> tuple[SourceCounts, ...]:
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, key in enumerate(zip(table.sources, table.splits, strict=True)):
        rows[key].append(row)
    by_split_then_name = sorted(rows.items(), key=lambda item: (item[0][1] == "test", item[0]))
    return tuple(_source(table.rows(indices), source, split) for (source, split), indices in by_split_then_name)


def _source(rows: LabelTable, source: str, split: str) -> SourceCounts:
    return SourceCounts(
        source=source,
        split=split,
        licence=", ".join(sorted(set(rows.licences))),
        frames=len(rows),
        groups=len(set(rows.groups)),
        boxed=sum(1 for boxes in rows.boxes if boxes),
        entries=_entries(rows.entries_NL),
    )


def _similar_amounts(labels: Sequence[str], training: Sequence[Entries]) -> Condition:
    name = "Similar amounts of data per label"
    known = sorted((entries.known, label) for label, entries in zip(labels, training, strict=True))
    (least, scarcest), (most, richest) = known[0], known[-1]
    if most == 0:
        return Condition(name, "cannot be told", "No entry is known in any row for training.")
    if least == 0:
        return Condition(name, "does not hold", f"{scarcest} has no known entry at all; {richest} has {most:,}.")
    reason = f"{richest} has {most:,} known entries and {scarcest} {least:,}: {most / least:.1f} times as many."
    holds = most / least <= MAX_RATIO
    limit = f"Up to {MAX_RATIO:g} times counts as similar."
    return Condition(name, "holds" if holds else "does not hold", f"{reason} {limit}")


CONDITIONS_BEYOND_COUNTS = (
    Condition(
        "Shared low-level features",
        "cannot be told",
        "Counts do not show whether labels profit from one trunk. To measure it, train one network on all labels and "
        "one per label on the same budget, and compare.",
    ),
    Condition(
        "A network that is big enough",
        "cannot be told",
        "Counts do not show whether one trunk has room for all labels. Make that comparison with trunks of two sizes: "
        "a larger one that closes a gap says that the smaller had too little.",
    ),
)


def _scarcity(labels: Sequence[str], training: Sequence[Entries]) -> Iterable[str]:
    for label, entries in zip(labels, training, strict=True):
        for value, count in (("positives", entries.positive), ("negatives", entries.negative)):
            if count < FEW_ENTRIES:
                yield f"{label} has few known {value}: {count:,} (fewer than {FEW_ENTRIES})."
        if min(entries.positive, entries.negative) * MAX_RATIO < max(entries.positive, entries.negative):
            yield (
                f"{label} is lopsided: {entries.positive:,} positives against {entries.negative:,} negatives "
                f"(more than {MAX_RATIO:g} times)."
            )
    for value, counts in (
        ("positives", [entries.positive for entries in training]),
        ("negatives", [entries.negative for entries in training]),
    ):
        yield from _uneven(labels, value, counts)


def _uneven(labels: Sequence[str], value: str, counts: Sequence[int]) -> Iterable[str]:
    ranked = sorted(zip(counts, labels, strict=True))
    (least, scarcest), (most, richest) = ranked[0], ranked[-1]
    if most > least * MAX_RATIO:
        yield f"{richest} has {most:,} known {value}, {scarcest} only {least:,}: more than {MAX_RATIO:g} times as many."


def _telltale_sources(labels: Sequence[str], sources: Sequence[SourceCounts]) -> Iterable[str]:
    for source in sources:
        for label, entries in zip(labels, source.entries, strict=True):
            one_valued = entries.known >= FRAMES_TO_NAME_A_SOURCE and 0 in (entries.positive, entries.negative)
            if source.split != "test" and one_valued:
                value = "present" if entries.positive else "absent"
                yield (
                    f"In {source.source} {label} is {value} in all {entries.known:,} frames where it is known: "
                    "the network may learn to recognise the source instead of the label."
                )


def summary(report: DataReport) -> str:
    """How much there is, in a line."""
    return (
        f"{report.frames_for_training:,} frames for training and {report.frames_for_test:,} for test, "
        f"in {report.groups:,} scenes"
    )
