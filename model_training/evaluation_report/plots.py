"""Plots of the evaluation report, as SVG that takes its ink from the page that it stands in."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from model_training.evaluation import Judged
from model_training.evaluation_report.reliability import Reliability
from model_training.evaluation_report.robustness import Robustness
from model_training.metrics import average_precision, precision_recall

# In place of it the page's own colour is put, so that one plot serves dark and light.
_INK: Final = "#010203"
# Readable on both papers (Okabe and Ito, 2008, slightly darkened or lightened).
COLOURS: Final = ("#2b83c6", "#d9822b", "#1a9a72", "#c0599a", "#8a7bd1", "#b0a020", "#6f7f8f", "#d0504a")
_STYLE: Final[Any] = {
    **{f"{thing}.color": _INK for thing in ("text", "xtick", "ytick")},
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "axes.prop_cycle": mpl.cycler(color=COLOURS),  # type: ignore[attr-defined]
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "font.size": 9,
    "legend.frameon": False,
    "savefig.transparent": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "roadcue",
}


def precision_recall_plot(ours: Sequence[Judged], yardstick: Sequence[Judged]) -> Markup:
    """One panel a label, in it one line a test set; the yardstick's are dashed."""
    labels = list(dict.fromkeys(one.label for one in ours))
    colour = _colours([one.test_set for one in ours])
    with mpl.rc_context(_STYLE):
        figure, panels = _panels(len(labels), 3.1)
        for axes, label in zip(panels, labels, strict=True):
            for one in (one for one in ours if one.label == label):
                _precision_line(axes, one, colour[one.test_set], "-")
            for one in (one for one in yardstick if one.label == label):
                _precision_line(axes, one, colour[one.test_set], ":")
            axes.set(title=label, xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02))
            axes.legend(loc="lower left", fontsize=8)
        return _svg(figure)


def _precision_line(axes: Axes, one: Judged, colour: str, style: str) -> None:
    recall, precision = precision_recall(one.present_N, one.scores_N)
    said = f"{one.test_set} {average_precision(one.present_N, one.scores_N):.3f}" if style == "-" else None
    # Precision at recall 0 is that of the best-scored frames: a step to the left, as average precision sums it.
    axes.step([0, *recall], [precision[0], *precision], where="pre", color=colour, linestyle=style, label=said)


def reliability_plot(found: Sequence[Reliability]) -> Markup:
    """One panel a label: frequency against probability, a dot a bin, as large as its share of frames is."""
    labels = list(dict.fromkeys(one.label for one in found))
    colour = _colours([one.test_set for one in found])
    with mpl.rc_context(_STYLE):
        figure, panels = _panels(len(labels), 3.1)
        for axes, label in zip(panels, labels, strict=True):
            axes.plot([0, 1], [0, 1], color=_INK, linewidth=0.8, alpha=0.5)
            for one in (one for one in found if one.label == label):
                _reliability_dots(axes, one, colour[one.test_set])
            axes.set(title=label, xlabel="probability", ylabel="share present", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        _shared_legend(figure, colour)
        return _svg(figure)


def _reliability_dots(axes: Axes, one: Reliability, colour: str) -> None:
    n = sum(bin_.n for bin_ in one.bins)
    x, y = [bin_.probability for bin_ in one.bins], [bin_.frequency for bin_ in one.bins]
    sizes = [360 * bin_.n / n for bin_ in one.bins]
    axes.plot(x, y, color=colour, linewidth=1, alpha=0.7)
    axes.scatter(x, y, sizes, color=colour, alpha=0.75, linewidths=0)


def robustness_plot(found: Sequence[Robustness], test_set: str) -> Markup:
    """One panel a corruption: average precision against severity, a line a label."""
    of_set = [one for one in found if one.test_set == test_set]
    colour = _colours([one.label for one in of_set])
    corruptions = list(dict.fromkeys(one.corruption for one in of_set))
    with mpl.rc_context(_STYLE):
        figure, panels = _panels(len(corruptions), 2.3)
        for axes, corruption in zip(panels, corruptions, strict=True):
            for label in colour:
                of_label = [one for one in of_set if (one.corruption, one.label) == (corruption, label)]
                x, y = [one.severity for one in of_label], [one.value for one in of_label]
                axes.plot(x, y, ".-", color=colour[label])
                axes.fill_between(
                    x, [one.low for one in of_label], [one.high for one in of_label], color=colour[label], alpha=0.12
                )
            axes.set(title=corruption, xlabel="severity", ylim=(0, 1.02), xticks=range(6))
        _shared_legend(figure, colour)
        return _svg(figure)


def _colours(names: Sequence[str]) -> dict[str, str]:
    return {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(dict.fromkeys(names))}


def _shared_legend(figure: Figure, colour: Mapping[str, str]) -> None:
    lines = [Line2D([], [], color=of_name, marker=".", label=name) for name, of_name in colour.items()]
    figure.legend(handles=lines, loc="outside lower center", ncols=4)


def _panels(count: int, height_in: float) -> tuple[Figure, list[Axes]]:
    columns = min(count, 4) or 1
    rows = -(-count // columns) or 1
    figure = Figure(figsize=(2.9 * columns, height_in * rows), layout="constrained")
    every = np.atleast_1d(figure.subplots(rows, columns)).ravel().tolist()
    for unused in every[count:]:
        unused.set_axis_off()
    return figure, every[:count]


def _svg(figure: Figure) -> Markup:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    drawing = buffer.getvalue()
    return Markup(drawing[drawing.index("<svg") :].replace(_INK, "currentColor"))  # noqa: S704 - matplotlib escapes texts
