"""The evaluation report as one HTML page, with its plots and galleries.

# L = labels, h/w = evidence grid
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from model_training.evaluation import CALIBRATION_GAP
from model_training.evaluation_report.heatmap import overlaid, picture, small_frame
from model_training.evaluation_report.label_errors import Suspect
from model_training.evaluation_report.mistakes import Mistake
from model_training.evaluation_report.plots import precision_recall_plot, reliability_plot, robustness_plot
from model_training.evaluation_report.pointing import TOLERANCE_PX, Aim
from model_training.evaluation_report.report import PARTS, EvaluationReport
from model_training.evaluation_report.robustness import Robustness
from model_training.evaluation_report.served_model import ServedModel
from model_training.label_table import PRESENT, LabelTable
from model_training.report_page import rendered
from model_training.tracking import Tracking, untracked
from model_training.whole_files import write_whole
from service.inference.artifact import Figure

METRICS: Final = {
    "average_precision": "average precision",
    "f1_at_threshold": "F1 at threshold",
    "expected_calibration_error": "calibration error",
    CALIBRATION_GAP: "probability less frequency",
    "brier_score": "Brier score",
}
AIMS_OF_A_KIND: Final = 6
SUSPECTS_SHOWN: Final = 12
SUSPECTS_LISTED: Final = 100


@dataclass(frozen=True, slots=True)
class Exhibit:
    """Pictures of one frame, side by side, and what is to be said of them."""

    pictures: tuple[str, ...]
    caption: str
    name: str


@dataclass(frozen=True, slots=True)
class Gallery:
    """Exhibits of one label under a heading."""

    label: str
    heading: str
    exhibits: tuple[Exhibit, ...]


def save_page(report: EvaluationReport, model: ServedModel, path: Path, tracking: Tracking = untracked) -> None:
    """Write the page to `path`, over what is there; frames that it shows are read and asked about once more."""
    page = rendered(
        "evaluation_report/page.html",
        title=f"Roadcue evaluation: {report.metadata.name} {report.metadata.version}",
        report=report,
        metrics=METRICS,
        tolerance_px=TOLERANCE_PX,
        left_out=[part for part in PARTS if getattr(report, _FIELDS[part]) is None],
        tables={
            "figures": figure_rows(report.figures),
            "sources": figure_rows(report.source_figures),
            "held_out": figure_rows(report.held_out_figures),
        },
        plots=_plots(report),
        robustness=_by_severity(report.robustness or ()),
        mistakes=_mistake_galleries(report, model, tracking),
        aims=_aim_galleries(report, model, tracking),
        suspects=_suspect_galleries(report),
        suspects_listed=[_listed(report, suspect) for suspect in report.suspects or ()],
        listed=SUSPECTS_LISTED,
    )
    write_whole(path, page)


_FIELDS: Final = {
    "mistakes": "mistakes",
    "label-errors": "suspects",
    "pointing": "pointing",
    "speed": "speeds",
    "robustness": "robustness",
}


@dataclass(frozen=True, slots=True)
class FigureRow:
    """One test set and label, with its figures by metric."""

    test_set: str
    label: str
    n: int
    positives: int
    scenes: int | None
    by_metric: dict[str, Figure]


def figure_rows(figures: Sequence[Figure]) -> list[FigureRow]:
    """Figures by test set and label, in the order in which these first come."""
    rows: dict[tuple[str, str], dict[str, Figure]] = {}
    for figure in figures:
        rows.setdefault((figure.test_set, figure.label), {})[figure.metric] = figure
    counts = ((*key, next(iter(found.values())), found) for key, found in rows.items())
    return [
        FigureRow(test_set, label, any_.n, any_.positives, any_.scenes, found)
        for test_set, label, any_, found in counts
    ]


def _plots(report: EvaluationReport) -> dict[str, Markup | dict[str, Markup]]:
    theirs = report.yardstick.judged if report.yardstick else ()
    measured = dict.fromkeys(one.test_set for one in report.robustness or ())
    return {
        "precision_recall": precision_recall_plot(report.judged, theirs) if report.judged else Markup(),
        "reliability": reliability_plot(report.reliabilities) if report.reliabilities else Markup(),
        "robustness": {name: robustness_plot(report.robustness or (), name) for name in measured},
    }


def _by_severity(found: Sequence[Robustness]) -> dict[str, dict[tuple[str, str], list[Robustness]]]:
    """By test set, then by corruption and label: one a severity."""
    rows: dict[str, dict[tuple[str, str], list[Robustness]]] = {}
    for one in found:
        rows.setdefault(one.test_set, {}).setdefault((one.corruption, one.label), []).append(one)
    return rows


def _mistake_galleries(report: EvaluationReport, model: ServedModel, tracking: Tracking) -> list[Gallery]:
    found, table = report.mistakes or (), report.tested.table
    maps = _evidence(model, table, [mistake.row for mistake in found], "worst mistakes", tracking)
    shown: dict[tuple[str, int], list[Exhibit]] = {(mistake.label, mistake.entry): [] for mistake in found}
    for mistake, evidence_Lhw in zip(found, maps, strict=True):
        evidence_hw = evidence_Lhw[table.labels.index(mistake.label)]
        shown[mistake.label, mistake.entry].append(_mistake_exhibit(table, mistake, evidence_hw))
    return [
        Gallery(label, "Present, and given least" if entry == PRESENT else "Absent, and given most", tuple(exhibits))
        for (label, entry), exhibits in shown.items()
    ]


def _mistake_exhibit(table: LabelTable, mistake: Mistake, evidence_hw: NDArray[np.float32]) -> Exhibit:
    image = table.images[mistake.row]
    frame_HWC = small_frame(image)
    pictures = (
        picture(frame_HWC, table.boxes[mistake.row].get(mistake.label, ())),
        picture(overlaid(frame_HWC, evidence_hw)),
    )
    decided = "decided wrong" if mistake.is_decided_wrong else "decided right"
    caption = f"{mistake.probability:.3f}, the table says {mistake.said}; {decided}"
    return Exhibit(pictures, caption, _named(table, mistake.row))


def _aim_galleries(report: EvaluationReport, model: ServedModel, tracking: Tracking) -> list[Gallery]:
    table = report.pointed_at
    galleries = []
    for label in table.labels:
        of_label = [aim for aim in report.aims if aim.label == label]
        for heading, kind in (
            ("Misses", [aim for aim in of_label if aim.strict < 0.5]),
            ("Hits", [aim for aim in of_label if aim.strict >= 0.5]),
        ):
            chosen = _spread(kind)
            maps = _evidence(model, table, [aim.row for aim in chosen], f"where it looks for {label}", tracking)
            exhibits = tuple(
                _aim_exhibit(table, aim, evidence_Lhw) for aim, evidence_Lhw in zip(chosen, maps, strict=True)
            )
            if exhibits:
                galleries.append(Gallery(label, f"{heading} ({len(chosen)} of {len(kind)})", exhibits))
    return galleries


def _spread(aims: Sequence[Aim]) -> list[Aim]:
    """A few of them from all over, so that no scene fills the gallery."""
    positions = np.linspace(0, len(aims) - 1, min(AIMS_OF_A_KIND, len(aims))).astype(int)
    return [aims[position] for position in positions]


def _aim_exhibit(table: LabelTable, aim: Aim, evidence_Lhw: NDArray[np.float32]) -> Exhibit:
    frame_HWC = small_frame(table.images[aim.row])
    evidence_hw = evidence_Lhw[table.labels.index(aim.label)]
    shown = picture(overlaid(frame_HWC, evidence_hw), table.boxes[aim.row][aim.label], (aim.x, aim.y))
    beside = "in a box" if aim.strict >= 0.5 else "within the tolerance" if aim.tolerant >= 0.5 else "beside every box"
    return Exhibit((shown,), f"peak {float(evidence_hw.max()):.3f}, {beside}", _named(table, aim.row))


def _suspect_galleries(report: EvaluationReport) -> list[Gallery]:
    found, table = report.suspects or (), report.out_of_sample.table
    galleries = []
    for label in table.labels:
        of_label = [suspect for suspect in found if suspect.label == label]
        shown = tuple(_suspect_exhibit(table, suspect) for suspect in of_label[:SUSPECTS_SHOWN])
        if shown:
            galleries.append(Gallery(label, f"{len(shown)} of {len(of_label)}, the least trusted first", shown))
    return galleries


def _suspect_exhibit(table: LabelTable, suspect: Suspect) -> Exhibit:
    caption = f"{suspect.probability:.3f}, the table says {suspect.said}"
    boxes = table.boxes[suspect.row].get(suspect.label, ())
    return Exhibit((picture(small_frame(table.images[suspect.row]), boxes),), caption, _named(table, suspect.row))


def _listed(report: EvaluationReport, suspect: Suspect) -> str:
    name = _named(report.out_of_sample.table, suspect.row)
    return f"{suspect.label}: {name}; the table says {suspect.said}, trust in it {suspect.trust:.4f}"


def _named(table: LabelTable, row: int) -> str:
    return f"{table.images[row].name}, {table.sources[row]}"


def _evidence(
    model: ServedModel, table: LabelTable, rows: Sequence[int], name: str, tracking: Tracking
) -> Iterable[NDArray[np.float32]]:
    images = [table.images[row] for row in rows]
    return (evidence_Lhw for batch in model.outputs(images, name, tracking) for evidence_Lhw in batch.evidence_BLhw)
