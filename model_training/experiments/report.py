"""The experiments as a Markdown text, whatever came out."""

import json
import math
from collections.abc import Sequence
from typing import Any, Final

from model_training.augmentation.changes import DOUBTFUL, SURE
from model_training.comparison.statistics import Difference
from model_training.experiments.plan import BASE, Arm, Plan
from model_training.experiments.results import Outcome, Results
from model_training.markdown import table

FILE: Final = "results.md"

_TAUGHT: Final = (
    "The same networks against the teacher, where nobody labelled and it is sure: average precision over the unknown "
    f"entries of held-out rows that are present with a probability of at least {SURE:g}, or at most {DOUBTFUL:g}, as "
    "the teacher sees it. It is agreement and not truth: what the teacher gets wrong counts as right here, and a "
    "change that takes the teacher away loses by its nature. It shows what too few labels cannot, such as whether "
    "distant people are found in driving scenes."
)


def markdown(results: Results) -> str:
    """Tables of every change against the base, and what each of them is."""
    return "\n".join(
        [
            *_what(results),
            "### Average precision on held-out rows",
            "",
            *_differences(results, [outcome.labelled for outcome in results.outcomes], with_costs=True),
            "",
            *_against_the_teacher(results),
            "### What was changed",
            "",
            *(f"- *{arm.name}*{_said(arm, results.plan)}: {arm.why}" for arm in results.plan.changed),
            "",
        ]
    )


def _what(results: Results) -> list[str]:
    plan, base = results.plan, results.plan.base.configuration
    missing = len(plan.arms) * len(plan.seeds) - len(results.runs)
    frames = results.runs[0].result.frames_seen
    return [
        f"The base: {base.network.trunk}, frames of {base.height} x {base.width} pixels, {frames:,} frames seen, "
        f"the teacher says: {plan.base.teacher}. {len(plan.seeds)} seeds."
        + (f" **{missing} of {len(plan.arms) * len(plan.seeds)} runs are still missing.**" if missing else ""),
        "",
        "A cell is the average precision, and below it the difference from the base of the same seeds with its 95 % "
        "interval, **bold** where this leaves out 0.",
        "",
        results.method,
        "",
        "Training time is seconds a frame seen over the base's, on the machine as it was; ms a frame is the network "
        "alone on one thread of ONNX Runtime, changes and base interleaved, given where a change makes another network "
        "of it.",
        "",
    ]


def _against_the_teacher(results: Results) -> list[str]:
    found = [outcome.taught for outcome in results.outcomes]
    if not found[0]:
        return []
    return ["### Agreement with the teacher", "", _TAUGHT, "", *_differences(results, found), ""]


def _differences(results: Results, found: Sequence[Sequence[Difference]], with_costs: bool = False) -> list[str]:
    """One row per outcome; the mean over labels comes first."""
    labels = [difference.label for difference in found[0]]
    order = [*labels[-1:], *labels[:-1]]
    head = ["change", *("mean" if label == "mean" else label for label in order), "seeds"]
    counts = {difference.label: f"{difference.positives:.0f} of {difference.n:.0f}" for difference in found[0]}
    rows = [["*present of all, a seed*", *(counts[label] for label in order), ""]]
    for outcome, differences in zip(results.outcomes, found, strict=True):
        by_label = {difference.label: difference for difference in differences}
        cells = [_cell(outcome, by_label.get(label)) for label in order]
        rows.append([_name(outcome), *cells, str(len(outcome.seeds))])
    if with_costs:
        head += ["training time", "ms a frame"]
        rows = [row + extra for row, extra in zip(rows, [["", ""], *map(_costs, results.outcomes)], strict=True)]
    return table(head, rows)


def _cell(outcome: Outcome, found: Difference | None) -> str:
    if found is None:
        return ""
    if outcome.arm == BASE:
        return f"{found.ours:.3f}"
    difference = f"{found.difference:+.3f} ({found.low:+.3f} to {found.high:+.3f})"
    sure = not math.isnan(found.low) and not found.low <= 0 <= found.high
    return f"{found.ours:.3f}<br>" + (f"**{difference}**" if sure else difference)


def _costs(outcome: Outcome) -> list[str]:
    time = outcome.frame_time
    ratio = "" if outcome.training_ratio is None else f"{outcome.training_ratio:.2f}"
    if outcome.arm == BASE:
        return [ratio, f"{time.ms:.2f}"]
    same = time.low == time.high == 1
    return [ratio, "" if same else f"{time.ms:.2f}<br>x {time.ratio:.2f} ({time.low:.2f} to {time.high:.2f})"]


def _name(outcome: Outcome) -> str:
    return f"*{BASE}*" if outcome.arm == BASE else outcome.arm


def _said(arm: Arm, plan: Plan) -> str:
    """What the arm sets, as its plan's file would say it."""
    said = [f"`{key} = {_toml(value)}`" for key, value in arm.changes.items()]
    said += [f'`teacher = "{arm.teacher}"`'] if arm.teacher != plan.base.teacher else []
    return f" ({', '.join(said)})"


def _toml(value: Any) -> str:
    """JSON writes the values that a plan can hold as TOML does."""
    return json.dumps(value)
