"""A model file's metadata -> its model card in Markdown (Mitchell et al., Model Cards for Model Reporting, 2019)."""

from collections.abc import Iterable, Sequence
from typing import Final

from service.inference.artifact import Figure, ModelMetadata

_METRICS: Final = ("average_precision", "f1_at_threshold", "expected_calibration_error", "brier_score")
FIGURE_COLUMNS: Final = (
    *("test set", "label", "n", "present"),
    *("average precision", "F1 at threshold", "calibration error", "Brier score"),
)


def model_card(metadata: ModelMetadata, command: str, remarks: str = "") -> str:
    """The card; `command` is what measures its figures again, `remarks` are Markdown written by a person."""
    size = metadata.input
    return "\n".join(
        [
            f"# {metadata.name} {metadata.version}",
            "",
            f"Presence of {_listed(label.title for label in metadata.labels)} in a driving frame. "
            f"{metadata.precision}, frames of {size.height} x {size.width} pixels (height x width, {size.resize}), "
            f"evidence maps of {metadata.evidence_grid[0]} x {metadata.evidence_grid[1]} cells. "
            f"Licence: {metadata.licence}. Exported {metadata.created}.",
            "",
            *_labels(metadata),
            *_data(metadata),
            *_figures(metadata, command),
            remarks.strip(),
            "",
        ]
    )


def _labels(metadata: ModelMetadata) -> list[str]:
    rows = [
        f"| {label.key} | {label.threshold:g} | {metadata.calibration[label.key].temperature:.3f} "
        f"| {metadata.calibration[label.key].bias:+.3f} |"
        for label in metadata.labels
    ]
    return [
        "## Labels",
        "",
        "The threshold has the best F1 on rows held out for it; temperature and bias were fitted on the same rows and "
        "are part of the graph.",
        "",
        "| label | threshold | temperature | bias |",
        "|---|---|---|---|",
        *rows,
        "",
    ]


def _data(metadata: ModelMetadata) -> list[str]:
    data = metadata.training_data
    return [
        "## Data",
        "",
        f"{data.frames} frames were used to train, choose and calibrate, under {_listed(data.licences)}. "
        f"Content hash of these rows: `{data.hash}`.",
        "",
    ]


def _figures(metadata: ModelMetadata, command: str) -> list[str]:
    if not metadata.figures:
        return []
    return [
        "## Figures",
        "",
        "Measured on test rows, none of which was used to train, choose or calibrate. Known entries only; n counts "
        "them. The 95 % intervals come from resampling scene groups; the calibration error of a resample tends to "
        "exceed that of the frames it was drawn from, so its interval lies high. The figures come out again from",
        "",
        f"    {command}",
        "",
        f"| {' | '.join(FIGURE_COLUMNS)} |",
        "|" + "---|" * len(FIGURE_COLUMNS),
        *(f"| {' | '.join(_escaped(row))} |" for row in figure_rows(metadata.figures)),
        "",
    ]


def figure_rows(figures: Sequence[Figure]) -> list[tuple[str, ...]]:
    """One row of texts per test set and label, under `FIGURE_COLUMNS`."""
    pairs = dict.fromkeys((figure.test_set, figure.label) for figure in figures)
    return [_figure_row(figures, test_set, label) for test_set, label in pairs]


def _figure_row(figures: Sequence[Figure], test_set: str, label: str) -> tuple[str, ...]:
    by_metric = {f.metric: f for f in figures if (f.test_set, f.label) == (test_set, label)}
    precision = by_metric["average_precision"]
    cells = (_cell(by_metric.get(metric)) for metric in _METRICS)
    return (test_set, label, str(precision.n), str(precision.positives), *cells)


def _escaped(cells: Iterable[str]) -> Iterable[str]:
    return (cell.replace("|", "&#124;") for cell in cells)


def _cell(figure: Figure | None) -> str:
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})" if figure else ""


def _listed(names: Iterable[str]) -> str:
    *first, last = list(names) or ["nothing"]
    return f"{', '.join(first)} and {last}" if first else last
