"""Calibrated probabilities on held-out rows -> the probability from which each label is said to be there, by a rule.

# N = frames, L = labels
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model_training.errors import InvalidConfiguration, ThresholdUnreachable
from model_training.label_table import PRESENT, UNKNOWN, LabelTable
from model_training.metrics import Floats, f1_score
from service.inference.artifact import ThresholdRule

UNDECIDED = 0.5
"""For a label whose known entries are all of one kind or all score alike: nothing tells better from worse."""
BEST_F1: Final = ThresholdRule()
FORM: Final = "[LABEL:]f1, [LABEL:]precision=P or [LABEL:]recall=R with P and R above 0 and at most 1"

Truth = NDArray[np.bool_]


def thresholds(table: LabelTable, probabilities_NL: Floats, rules: Mapping[str, ThresholdRule]) -> dict[str, float]:
    """Per label the threshold that its rule asks for over known entries, midway between the two scores it parts.

    A threshold that parts nothing decides nothing, so "always present" is not among the candidates. Where a label's
    known entries are all of one kind or all score alike, there is none: 0.5 for the best F1. Raises
    ThresholdUnreachable, with what can be reached, where no candidate has the precision or recall asked for.
    """
    return {
        label: _threshold(label, table.entries_NL[:, j], np.asarray(probabilities_NL[:, j], np.float64), rules[label])
        for j, label in enumerate(table.labels)
    }


def rules(choices: Sequence[str], labels: Sequence[str]) -> dict[str, ThresholdRule]:
    """A rule per label from texts such as `recall=0.9` (for all labels) and `stop_sign:precision=0.95`.

    A label's own rule outweighs the one for all; without either it is the best F1. Raises InvalidConfiguration.

    >>> rules(["recall=0.9", "car:f1"], ["car", "tram"])["tram"].at_least
    0.9
    """
    given: dict[str | None, ThresholdRule] = {}
    for choice in choices:
        label, rule = _parsed(choice, labels)
        if label in given:
            raise InvalidConfiguration(f"--threshold {choice!r}: {label or 'all labels'} had a rule before; give one")
        given[label] = rule
    return {label: given.get(label, given.get(None, BEST_F1)) for label in labels}


def told(rule: ThresholdRule) -> str:
    """The rule in words.

    >>> told(ThresholdRule(metric="precision", at_least=0.95))
    'lowest with precision >= 0.95'
    """
    end = {"precision": "lowest", "recall": "highest"}.get(rule.metric)
    return f"{end} with {rule.metric} >= {rule.at_least:g}" if end else "best F1"


def _parsed(choice: str, labels: Sequence[str]) -> tuple[str | None, ThresholdRule]:
    before, separator, after = choice.rpartition(":")
    if separator and before not in labels:
        raise InvalidConfiguration(
            f"--threshold {choice!r}: {before!r} is no label; the labels are {', '.join(labels)}"
        )
    metric, _, aim = after.partition("=")
    try:
        rule = ThresholdRule.model_validate({"metric": metric, "at_least": float(aim) if aim else None})
    except ValueError as problem:
        raise InvalidConfiguration(f"--threshold {choice!r} is not {FORM}") from problem
    return (before if separator else None), rule


def _threshold(
    label: str, entries_N: NDArray[np.int8], probabilities_N: NDArray[np.float64], rule: ThresholdRule
) -> float:
    known = entries_N != UNKNOWN
    present, scores = entries_N[known] == PRESENT, probabilities_N[known]
    levels = np.unique(scores)
    if present.all() or not present.any() or len(levels) == 1:
        if rule == BEST_F1:
            return UNDECIDED
        raise ThresholdUnreachable(
            f"{label}: the {len(scores)} known entries held out for it are all of one kind or all score alike, so no "
            f"threshold can be the {told(rule)}; give it --threshold {label}:f1"
        )
    level = _chosen_level(label, present, scores, levels, rule)
    return _midway(float(levels[level - 1]), float(levels[level]))


def _chosen_level(
    label: str, present_N: Truth, scores_N: NDArray[np.float64], levels: NDArray[np.float64], rule: ThresholdRule
) -> int:
    """Which of the distinct scores is the lowest that is called present; the first one, never."""
    measure = _MEASURES[rule.metric]
    values = {level: measure(present_N, scores_N >= levels[level]) for level in range(1, len(levels))}
    if rule.at_least is None:
        return max(values, key=values.__getitem__)
    reached = [level for level, value in values.items() if value >= rule.at_least]
    if not reached:
        best = max(values, key=values.__getitem__)
        raise ThresholdUnreachable(
            f"{label}: no threshold has {rule.metric} >= {rule.at_least:g} on the {len(scores_N)} known entries held "
            f"out for it; the highest is {values[best]:.4f}, from the probability {levels[best]:.4g} on"
        )
    return min(reached) if rule.metric == "precision" else max(reached)


def _precision(present_N: Truth, decided_N: Truth) -> float:
    return float(present_N[decided_N].mean())


def _recall(present_N: Truth, decided_N: Truth) -> float:
    return float(decided_N[present_N].mean())


_MEASURES: Final[dict[str, Callable[[Truth, Truth], float]]] = {
    "f1": f1_score,
    "precision": _precision,
    "recall": _recall,
}


def _midway(below: float, above: float) -> float:
    """A short number between two scores; `above` itself where they are next to each other."""
    middle = (below + above) / 2
    # A fixed number of digits would round the threshold of a rare label to 0, and everything would be present.
    return next((short for digits in range(4, 17) if below < (short := round(middle, digits)) < above), above)
