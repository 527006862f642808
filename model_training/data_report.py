"""Is this data fit for one network on several labels? Counts, warnings and pictures, on the terminal and as a page.

# N = frames, L = labels
"""

import io
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps
from rich.console import Console
from rich.table import Table
from rich.text import Text

from model_training.label_table import ABSENT, PRESENT, UNKNOWN, LabelTable
from model_training.report_page import THEMES, Theme, axes_of, data_uri, png, rendered
from model_training.sources.annotated_frame import Box
from model_training.sources.problems import Problems

MAX_RATIO = 10.0
"""Beyond this, one label has so much more data than another that the amounts are not similar."""
FEW_ENTRIES = 500
"""Fewer known positives or negatives than this leave a label to chance."""
FRAMES_TO_NAME_A_SOURCE = 20
"""In a source of at least this many known entries, all of one value, the value gives the source away."""

THUMBNAIL_PX = 176
THUMBNAILS = 12
LISTED = 50

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


# The terminal


def print_report(report: DataReport, console: Console) -> None:
    """Print counts, conditions, warnings and problems as tables and lines."""
    console.print(_summary(report))
    console.print(_label_table(report))
    console.print(_source_table(report))
    console.print(_pair_table(report))
    for condition in report.conditions:
        console.print(f"[bold]{condition.name}[/]: [{_colour(condition.verdict)}]{condition.verdict}[/]. ", end="")
        console.print(condition.reason, markup=False)
    for warning in report.warnings:
        console.print("[yellow]warning[/] ", end="")
        console.print(warning, markup=False)
    for line in _counted_lines(report):
        console.print(line, markup=False)


def _summary(report: DataReport) -> str:
    return (
        f"{report.frames_for_training:,} frames for training and {report.frames_for_test:,} for test, "
        f"in {report.groups:,} scenes"
    )


def _colour(verdict: Verdict) -> str:
    return {"holds": "green", "does not hold": "red", "cannot be told": "cyan"}[verdict]


def _label_table(report: DataReport) -> Table:
    table = Table(title="Entries per label", title_justify="left")
    table.add_column("label", no_wrap=True)
    for column in ("known", "positive", "negative", "unknown", "test positive", "test negative"):
        table.add_column(column, justify="right")
    for label, training, test in zip(report.labels, report.training, report.test, strict=True):
        counts = (training.known, training.positive, training.negative, training.unknown, test.positive, test.negative)
        table.add_row(label, *(f"{count:,}" for count in counts))
    return table


def _source_table(report: DataReport) -> Table:
    """One row a source, in it one line a label: so it is no wider with more labels."""
    table = Table(title="Entries per source", title_justify="left", show_lines=True)
    for column in ("source", "label"):
        table.add_column(column)
    for column in ("known", "positive", "negative", "unknown"):
        table.add_column(column, justify="right", no_wrap=True)
    for source in report.sources:
        counts = [
            "\n".join(f"{getattr(entries, column):,}" for entries in source.entries)
            for column in ("known", "positive", "negative", "unknown")
        ]
        table.add_row(Text(_described(source)), "\n".join(report.labels), *counts)
    return table


def _described(source: SourceCounts) -> str:
    return (
        f"{source.source}\nframes ({source.split or 'unstated'}): {source.frames:,}\n"
        f"scenes: {source.groups:,}\nwith boxes: {source.boxed:,}"
    )


def _pair_table(report: DataReport) -> Table:
    table = Table(title="Both present / both known, in rows for training", title_justify="left")
    table.add_column("label", no_wrap=True)
    for label in report.labels:
        table.add_column(label, justify="right")
    for label, present, known in zip(report.labels, report.both_present, report.both_known, strict=True):
        table.add_row(label, *(f"{both:,} / {of:,}" for both, of in zip(present, known, strict=True)))
    return table


def _counted_lines(report: DataReport) -> Iterable[str]:
    yield f"{len(report.conflicts):,} conflicting entries became unknown"
    for kind, count in report.problem_counts.items():
        yield f"{count:,} skipped: {kind}"
    for kind, count in report.note_counts.items():
        yield f"{count:,} noted: {kind}"


# The page


@dataclass(frozen=True, slots=True)
class _Thumbnail:
    image: str
    caption: str


@dataclass(frozen=True, slots=True)
class _Sheet:
    label: str
    positives: tuple[_Thumbnail, ...]
    negatives: tuple[_Thumbnail, ...]


def save_html(report: DataReport, table: LabelTable, path: Path) -> None:
    """Write the report as one self-contained page, with plots and a contact sheet per label; overwrites `path`.

    Pictures come from rows for training where there are any; a picture that cannot be read is left out.
    """
    page = rendered(
        "data_report.html",
        title="Roadcue data report",
        report=report,
        summary=_summary(report),
        entries_plot={name: png(_entries_figure(report, theme)) for name, theme in THEMES.items()},
        pairs_plot={name: png(_pairs_figure(report, theme)) for name, theme in THEMES.items()},
        sheets=[_sheet(table, label) for label in range(len(table.labels))],
        listed=LISTED,
    )
    path.write_text(page, encoding="utf-8")


def _entries_figure(report: DataReport, theme: Theme) -> Figure:
    figure, axes = axes_of(5.6, 0.9 + 0.42 * len(report.labels), theme)
    left_L = np.zeros(len(report.labels))
    for value, colour in (("positive", theme.positive), ("negative", theme.negative), ("unknown", theme.unknown)):
        counts_L = np.array([getattr(entries, value) for entries in report.training], float)
        axes.barh(report.labels, counts_L, left=left_L, color=colour, label=value, height=0.62)
        left_L += counts_L
    axes.invert_yaxis()
    axes.set_xlabel("frames for training", color=theme.ink)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, labelcolor=theme.ink)
    return figure


def _pairs_figure(report: DataReport, theme: Theme) -> Figure:
    figure, axes = axes_of(1.3 + 0.85 * len(report.labels), 0.9 + 0.65 * len(report.labels), theme)
    both_LL, known_LL = np.array(report.both_present, float), np.array(report.both_known, float)
    share_LL = np.divide(both_LL, known_LL, out=np.zeros_like(both_LL), where=known_LL > 0)
    brightest = max(1e-9, float(share_LL.max()))
    shown_LL = np.ma.array(share_LL, mask=known_LL == 0)
    axes.imshow(shown_LL, cmap="viridis", aspect="auto", vmin=0, vmax=brightest)
    for (j, k), share in np.ndenumerate(share_LL):
        text = f"{share:.0%}\n{int(both_LL[j, k])} of {int(known_LL[j, k])}" if known_LL[j, k] else "never\nboth known"
        bright_ink = "#101010" if share > 0.6 * brightest else "#ffffff"
        axes.text(k, j, text, ha="center", va="center", fontsize=8, color=bright_ink if known_LL[j, k] else theme.ink)
    axes.set_xticks(range(len(report.labels)), report.labels, rotation=30, ha="right")
    axes.set_yticks(range(len(report.labels)), report.labels)
    return figure


def _sheet(table: LabelTable, label: int) -> _Sheet:
    usable = [row for row, split in enumerate(table.splits) if split != "test"] or list(range(len(table)))
    shown = {value: [row for row in usable if table.entries_NL[row, label] == value] for value in (PRESENT, ABSENT)}
    return _Sheet(
        table.labels[label],
        *(tuple(_thumbnails(table, _spread(table, shown[value]), table.labels[label])) for value in (PRESENT, ABSENT)),
    )


def _spread(table: LabelTable, rows: Sequence[int]) -> list[int]:
    """Rows in turn from each source, and within a source from all over it, so that a few show the whole."""
    by_source: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        by_source[table.sources[row]].append(row)
    turns = []
    for found in by_source.values():
        apart = found[:: max(1, len(found) // THUMBNAILS)]
        turns += list(enumerate(apart))
    return [row for _, row in sorted(turns)][: 2 * THUMBNAILS]


def _thumbnails(table: LabelTable, rows: Iterable[int], label: str) -> Iterable[_Thumbnail]:
    shown = 0
    for row in rows:
        picture = _thumbnail(table.images[row], table.boxes[row].get(label, ()))
        if picture and shown < THUMBNAILS:
            shown += 1
            yield _Thumbnail(picture, f"{table.images[row].name}, {table.sources[row]}")


def _thumbnail(path: Path, boxes: Sequence[Box]) -> str | None:
    try:
        with Image.open(path) as file:
            file.draft("RGB", (THUMBNAIL_PX, THUMBNAIL_PX))
            picture = ImageOps.exif_transpose(file).convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    draw = ImageDraw.Draw(picture)
    for x0, y0, x1, y1 in boxes:
        corners = (x0 * picture.width, y0 * picture.height, x1 * picture.width, y1 * picture.height)
        draw.rectangle(corners, outline=(255, 214, 10))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=72)
    return data_uri(buffer.getvalue(), "image/jpeg")
