"""A model file's metadata -> its model card in Markdown (Mitchell et al., Model Cards for Model Reporting, 2019)."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from model_training.evaluation_report.reliability import disagreements
from model_training.markdown import table
from model_training.parity import LARGEST_MAP_DIFFERENCE
from model_training.thresholds import UNDECIDED, name_of, told
from model_training.variants.judging import Variant
from service.inference.artifact import Figure, ModelMetadata

_METRICS: Final = ("average_precision", "f1_at_threshold", "expected_calibration_error", "brier_score")
FIGURE_COLUMNS: Final = (
    *("test set", "label", "n", "present", "scenes"),
    *("average precision", "F1 at threshold", "calibration error", "Brier score"),
)


def model_card(
    metadata: ModelMetadata,
    command: str,
    remarks: str = "",
    variants: Sequence[Variant] = (),
    not_chosen: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """The card; `command` is what measures its figures again, `remarks` are Markdown written by a person.

    `variants` are those that were made of the file, also the ones that were not kept. `not_chosen` says of labels why
    nothing could be chosen for them.
    """
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
            *_labels(metadata, not_chosen),
            *_data(metadata),
            *_figures(metadata, command),
            *_disagreements(metadata),
            *_variants(variants),
            remarks.strip(),
            "",
        ]
    )


def _labels(metadata: ModelMetadata, not_chosen: Mapping[str, str]) -> list[str]:
    rows = [
        (
            label.key,
            f"{label.threshold:g}",
            not_chosen.get(label.key, told(label.rule)),
            f"{fitted.temperature:.3f}",
            f"{fitted.bias:+.3f}",
        )
        for label in metadata.labels
        for fitted in (metadata.calibration[label.key],)
    ]
    return [
        "## Labels",
        "",
        "The threshold was chosen by its rule on rows held out for it; temperature and bias were fitted on the same "
        "rows and are part of the graph."
        + (f" Where the rows told nothing the threshold is {UNDECIDED:g} and means nothing." if not_chosen else ""),
        "",
        *table(("label", "threshold", "rule", "temperature", "bias"), rows),
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
        "them. The 95 % intervals come from drawing scenes again: of a handful of scenes they tell little, and are too "
        "narrow. The calibration error of such a draw tends to exceed that of the frames it was drawn from, so its "
        "interval lies high. The figures come out again from",
        "",
        f"    {command}",
        "",
        *figure_table(metadata.figures),
        "",
    ]


def _disagreements(metadata: ModelMetadata) -> list[str]:
    found = disagreements(metadata.figures)
    if not found:
        return []
    return [
        "## Where tests disagree with the calibration",
        "",
        "On what it was fitted on, the mean probability of a label is nearly the share of frames that show it. It is "
        "not on these, by more than which scenes happen to be in them explains:",
        "",
        *(f"- {sentence}" for sentence in found),
        "",
    ]


def _variants(variants: Sequence[Variant]) -> list[str]:
    if not variants:
        return []
    rows = [
        (
            *(variant.precision, "yes" if variant.holds else "no", f"{variant.size_bytes / 1e6:.1f}"),
            *(variant.method or "", rows_name, told_map),
        )
        for variant in variants
        for rows_name, told_map in _told_parity(variant)
    ]
    return [
        "## Variants",
        "",
        f"Mean average precision, and in brackets its difference from float32's. A variant that differs by more than "
        f"{LARGEST_MAP_DIFFERENCE:g} anywhere is not kept. Their ranges were learned on train rows and the way to "
        "learn them chosen on validation rows; test rows chose nothing. All were measured on a CPU, float16 too.",
        "",
        *table(("variant", "kept", "MB", "ranges", "rows", "mean average precision"), rows),
        "",
        *_reached(variants),
        *(line for variant in variants if variant.precision == "int8" for line in _as_served_on_cpus(variant)),
    ]


def _reached(variants: Sequence[Variant]) -> list[str]:
    rows = [
        (variant.precision, one.label, name_of(one.rule), f"{one.variant:.4f}", f"{one.variant - one.float32:+.4f}")
        for variant in variants
        if variant.holds
        for one in variant.reached
    ]
    if not rows:
        return []
    return [
        "They have float32's thresholds, so that all machines decide alike. What they make of these, on the rows that "
        "chose them:",
        "",
        *table(("variant", "label", "looked at", "at the threshold", "less float32's"), rows),
        "",
    ]


def _told_parity(variant: Variant) -> list[tuple[str, str]]:
    told_sets = [(found.name, f"{found.variant:.4f} ({found.difference:+.4f})") for found in variant.parity]
    return told_sets or [("none", "not compared: no label has both kinds of known entries")]


def _as_served_on_cpus(int8: Variant) -> list[str]:
    if not int8.figures:
        return []
    return [
        "On CPUs that multiply bytes fast (ARM, x64 with VNNI) the service runs int8, whose own figures are",
        "",
        *figure_table(int8.figures),
        "",
    ]


def figure_table(figures: Sequence[Figure]) -> list[str]:
    """The lines of a Markdown table with a row for each test set and label."""
    return table(FIGURE_COLUMNS, figure_rows(figures))


def figure_rows(figures: Sequence[Figure]) -> list[tuple[str, ...]]:
    """One row of texts per test set and label, under `FIGURE_COLUMNS`."""
    pairs = dict.fromkeys((figure.test_set, figure.label) for figure in figures)
    return [_figure_row(figures, test_set, label) for test_set, label in pairs]


def _figure_row(figures: Sequence[Figure], test_set: str, label: str) -> tuple[str, ...]:
    by_metric = {f.metric: f for f in figures if (f.test_set, f.label) == (test_set, label)}
    precision = by_metric["average_precision"]
    cells = (_cell(by_metric.get(metric)) for metric in _METRICS)
    return (test_set, label, *map(_count, (precision.n, precision.positives, precision.scenes)), *cells)


def _count(number: int | None) -> str:
    return "" if number is None else str(number)


def _cell(figure: Figure | None) -> str:
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})" if figure else ""


def _listed(names: Iterable[str]) -> str:
    *first, last = list(names) or ["nothing"]
    return f"{', '.join(first)} and {last}" if first else last
