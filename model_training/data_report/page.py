"""The data report as one self-contained page, with plots and a contact sheet per label."""

import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageOps

from model_training.data_report.counts import DataReport, summary
from model_training.label_table import ABSENT, PRESENT, LabelTable
from model_training.report_page import THEMES, Theme, axes_of, data_uri, png, rendered
from model_training.sources.annotated_frame import Box
from model_training.whole_files import write_whole

THUMBNAIL_PX = 176
THUMBNAILS = 12
LISTED = 50


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
        "data_report/page.html",
        title="Roadcue data report",
        report=report,
        summary=summary(report),
        entries_plot={name: png(_entries_figure(report, theme)) for name, theme in THEMES.items()},
        pairs_plot={name: png(_pairs_figure(report, theme)) for name, theme in THEMES.items()},
        sheets=[_sheet(table, label) for label in range(len(table.labels))],
        listed=LISTED,
    )
    write_whole(path, page)


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
