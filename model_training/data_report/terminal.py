"""The data report on the terminal."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from model_training.data_report.counts import DataReport, SourceCounts, Verdict, summary


def print_report(report: DataReport, console: Console) -> None:
    """Print counts, conditions, warnings and problems as tables and lines."""
    console.print(summary(report))
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
