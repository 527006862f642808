"""A comparison as a Markdown text and a plot, whatever came out."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from model_training.comparison.costs import ArmCost
from model_training.comparison.plan import ARMS, arms_of
from model_training.comparison.results import HELD_OUT_ROWS, Contrast, Results
from model_training.comparison.statistics import Difference
from model_training.markdown import table

MARKDOWN: Final = "results.md"
PLOT: Final = "results.png"
MARK: Final = "figures"
"""Of the place in a Markdown document that the figures go to."""

_NAMES: Final = {
    "joint": "joint",
    "separate": "separate",
    "same_entries": "separate, same entries",
    "averaged": "averaged",
}
_COLOURS: Final = {"joint": "tab:blue", "separate": "tab:orange"}


def markdown(results: Results) -> str:
    """Tables of every difference and every cost, with what they were measured on."""
    held_out = [contrast for contrast in results.contrasts if contrast.rows == HELD_OUT_ROWS]
    tests = dict.fromkeys(c.rows for c in results.contrasts if c.rows != HELD_OUT_ROWS)
    parts = [
        *_what(results),
        *_differences("Average precision on held-out rows", held_out),
        *(
            line
            for name in tests
            for line in _differences(
                f"Test set {name} (reported only)", [c for c in results.contrasts if c.rows == name]
            )
        ),
        *_costs(results),
    ]
    return "\n".join(parts) + "\n"


def _what(results: Results) -> list[str]:
    common, done = results.plan.configuration, len(results.networks)
    missing = f" **{results.planned - done} of {results.planned} networks are still missing.**"
    return [
        f"{done} networks of {common.height} x {common.width} pixels, {len(results.plan.seeds)} seeds."
        + (missing if done < results.planned else ""),
        "",
        *(f"- *{_NAMES[arm]}*: {ARMS[arm]}" for arm in arms_of(results.plan)),
        "",
        results.method,
        "",
    ]


def _differences(title: str, contrasts: Sequence[Contrast]) -> list[str]:
    head = ("trunk", "scenes", "ours - theirs", "label", "ours", "theirs", "difference", "by seed", "n", "present")
    rows = [_difference_row(contrast, difference) for contrast in contrasts for difference in contrast.differences]
    return [f"### {title}", "", *table(head, rows), ""]


def _difference_row(contrast: Contrast, found: Difference) -> tuple[str, ...]:
    return (
        contrast.trunk,
        f"{contrast.fraction:.0%}",
        f"{_NAMES[contrast.ours]} - {_NAMES[contrast.theirs]}",
        found.label,
        f"{found.ours:.3f}",
        f"{found.theirs:.3f}",
        f"{found.difference:+.3f} ({found.low:+.3f} to {found.high:+.3f})",
        " ".join(f"{value:+.3f}" for value in found.by_seed),
        f"{found.n:.0f}",
        f"{found.positives:.0f}",
    )


def _costs(results: Results) -> list[str]:
    head = (
        *("trunk", "scenes", "arm", "networks", "parameters", "ms per frame", "ratio to joint"),
        *("frames seen", "minutes of training"),
    )
    rows = [
        (setting.trunk, f"{setting.fraction:.0%}", *_cost_row(arm)) for setting in results.costs for arm in setting.arms
    ]
    return [
        "### Cost of answering all labels",
        "",
        "Milliseconds of the networks alone, one frame at a time on one thread of ONNX Runtime, the arms of one trunk "
        "and share interleaved: compare them within these, since the machine was not always as fast. The ratio is the "
        "median over rounds with its 95 % interval. Frames and minutes are means over seeds.",
        "",
        *table(head, rows),
    ]


def _cost_row(cost: ArmCost) -> tuple[str, ...]:
    return (
        _NAMES[cost.arm],
        str(cost.networks),
        f"{cost.parameters:,}",
        f"{cost.ms_per_frame:.2f}",
        f"{cost.ratio:.2f} ({cost.ratio_low:.2f} to {cost.ratio_high:.2f})",
        f"{cost.frames_seen:,.0f}",
        "" if cost.training_seconds is None else f"{cost.training_seconds / 60:.1f}",
    )


def save_plot(results: Results, path: Path) -> None:
    """Write a PNG: average precision against the share of scenes above, the differences with intervals below."""
    held_out = [contrast for contrast in results.contrasts if contrast.rows == HELD_OUT_ROWS]
    labels = [difference.label for difference in held_out[0].differences]
    figure = Figure(figsize=(3.2 * len(labels), 4 + 0.32 * len(held_out)), layout="constrained")
    above, below = figure.subplots(2, len(labels), height_ratios=(3, 0.5 + 0.36 * len(held_out)), squeeze=False)
    shares = [
        c
        for c in held_out
        if (c.trunk, c.ours, c.theirs) == (results.plan.configuration.network.trunk, "joint", "separate")
    ]
    for j, label in enumerate(labels):
        _draw_shares(above[j], label, [(contrast.fraction, contrast.differences[j]) for contrast in shares])
        _draw_differences(below[j], [contrast.differences[j] for contrast in held_out])
        below[j].set_yticks(range(len(held_out)), [_place(c) for c in held_out] if j == 0 else [])
    if shares:
        above[0].legend()
    above[0].set_ylabel("average precision")
    figure.savefig(path, dpi=110)


def _draw_shares(axes: Axes, label: str, found: Sequence[tuple[float, Difference]]) -> None:
    """A line per arm, joint and separate, through its means over seeds."""
    percent = [100 * fraction for fraction, _ in found]
    for arm, colour in _COLOURS.items():
        values = [difference.ours if arm == "joint" else difference.theirs for _, difference in found]
        axes.plot(percent, values, "o-", color=colour, label=_NAMES[arm])
    axes.set(title=label.replace("_", " "), xlabel="share of labelled scenes, %", xlim=(0, 105))


def _draw_differences(axes: Axes, found: Sequence[Difference]) -> None:
    """From top to bottom: the difference, its interval as a line, each seed as a small mark."""
    for y, difference in enumerate(found):
        if not math.isnan(difference.low):
            axes.plot([difference.low, difference.high], [y, y], "-", color="tab:grey", lw=2)
        axes.plot(difference.by_seed, [y] * len(difference.by_seed), "|", color="black", ms=7)
        axes.plot(difference.difference, y, "o", color="tab:blue")
    axes.axvline(0, color="black", lw=0.8)
    axes.set(xlabel="difference in average precision", ylim=(len(found) - 0.5, -0.5))
    axes.locator_params(axis="x", nbins=4)  # more of them run into each other


def _place(contrast: Contrast) -> str:
    trunk = contrast.trunk.removeprefix("tf_efficientnet_")
    return f"{_NAMES[contrast.ours]} - {_NAMES[contrast.theirs]}\n{trunk}, {contrast.fraction:.0%}"
