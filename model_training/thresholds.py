"""Calibrated probabilities on held-out rows -> the probability from which each label is said to be there, by a rule.

# N = frames, L = labels
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model_training.errors import InvalidConfiguration, ThresholdUnreachable
from model_training.held_out import HeldOut
from model_training.metrics import Floats
from service.inference.artifact import ThresholdRule

UNDECIDED = 0.5
"""For a label of which all is present, all is absent or all scores alike: nothing tells better from worse."""
BEST_F1: Final = ThresholdRule()
FORM: Final = "[LABEL:]f1, [LABEL:]precision=P or [LABEL:]recall=R with P and R above 0 and at most 1"


def thresholds(held_out: HeldOut, probabilities_NL: Floats, rules: Mapping[str, ThresholdRule]) -> dict[str, float]:
    """Per label the threshold that its rule asks for on what is held out, midway between the two scores it parts.

    Where a teacher says how likely a label is, F1, precision and recall are those to be expected. A threshold that
    parts nothing decides nothing, so "always present" is not among the candidates. Where a label is present in all
    that counts, absent in all of it, or all scores alike, there is none: 0.5 for the best F1. Raises
    ThresholdUnreachable, with what can be reached, where no candidate has the precision or recall asked for.
    """
    return {
        label: _threshold(label, _Scored.of(held_out, j, probabilities_NL), rules[label])
        for j, label in enumerate(held_out.labels)
    }


def not_chosen(held_out: HeldOut, probabilities_NL: Floats) -> dict[str, str]:
    """The labels that `thresholds` has nothing to choose by, and in words why."""
    scored = {label: _Scored.of(held_out, j, probabilities_NL) for j, label in enumerate(held_out.labels)}
    return {label: one.why_not_chosen() for label, one in scored.items() if not len(one.levels())}


def reached(
    held_out: HeldOut, probabilities_NL: Floats, rules: Mapping[str, ThresholdRule], chosen: Mapping[str, float]
) -> dict[str, float]:
    """Per label the F1, precision or recall, as its rule asks, that the `chosen` threshold has on what is held out.

    Labels of which what is held out tells nothing are left out; precision is 0 where nothing is said to be there.
    """
    scored = {label: _Scored.of(held_out, j, probabilities_NL) for j, label in enumerate(held_out.labels)}
    return {label: one.measure(rules[label])(chosen[label]) for label, one in scored.items() if one.has_both_kinds()}


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


def name_of(rule: ThresholdRule) -> str:
    """What it looks at, as people write it.

    >>> name_of(ThresholdRule())
    'F1'
    """
    return {"f1": "F1"}.get(rule.metric, rule.metric)


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


@dataclass(frozen=True, slots=True)
class _Scored:
    """Frames of one label that count: their scores, and how much each is present and absent (0 or 1 where known)."""

    scores_N: NDArray[np.float64]
    present_N: NDArray[np.float64]
    absent_N: NDArray[np.float64]

    @classmethod
    def of(cls, held_out: HeldOut, label: int, probabilities_NL: Floats) -> "_Scored":
        weights_N = held_out.weights_NL[:, label]
        counts = weights_N > 0
        weights_N, targets_N = weights_N[counts], held_out.targets_NL[counts, label]
        scores_N = np.asarray(probabilities_NL[counts, label], np.float64)
        return cls(scores_N, weights_N * targets_N, weights_N * (1 - targets_N))

    def levels(self) -> NDArray[np.float64]:
        """The distinct scores, ascending; none where nothing tells better from worse."""
        levels = np.unique(self.scores_N)
        return levels if self.has_both_kinds() and len(levels) > 1 else levels[:0]

    def has_both_kinds(self) -> bool:
        return bool(self.present_N.any() and self.absent_N.any())

    def why_not_chosen(self) -> str:
        present, absent = np.count_nonzero(self.present_N), np.count_nonzero(self.absent_N)
        return (
            f"not chosen: {present} present, {absent} absent held out{', scored alike' if present and absent else ''}"
        )

    def measure(self, rule: ThresholdRule) -> Callable[[float], float]:
        """What a rule looks at."""
        return {"f1": self.f1, "precision": self.precision, "recall": self.recall}[rule.metric]

    def f1(self, level: float) -> float:
        return 2 * self._hits(level) / (float(self.present_N.sum()) + self._decided(level))

    def precision(self, level: float) -> float:
        decided = self._decided(level)
        return self._hits(level) / decided if decided else 0.0

    def recall(self, level: float) -> float:
        return self._hits(level) / float(self.present_N.sum())

    def _hits(self, level: float) -> float:
        return float(self.present_N[self.scores_N >= level].sum())

    def _decided(self, level: float) -> float:
        return self._hits(level) + float(self.absent_N[self.scores_N >= level].sum())


def _threshold(label: str, scored: _Scored, rule: ThresholdRule) -> float:
    levels = scored.levels()
    if not len(levels):
        if rule == BEST_F1:
            return UNDECIDED
        raise ThresholdUnreachable(
            f"{label}: the {len(scored.scores_N)} entries held out for it are all of one kind or all score alike, so "
            f"no threshold can be the {told(rule)}; give it --threshold {label}:f1"
        )
    level = _chosen_level(label, scored, levels, rule)
    return _midway(float(levels[level - 1]), float(levels[level]))


def _chosen_level(label: str, scored: _Scored, levels: NDArray[np.float64], rule: ThresholdRule) -> int:
    """Which of the distinct scores is the lowest that is called present; the first one, never."""
    measure = scored.measure(rule)
    values = {level: measure(float(levels[level])) for level in range(1, len(levels))}
    if rule.at_least is None:
        return max(values, key=values.__getitem__)
    reached = [level for level, value in values.items() if value >= rule.at_least]
    if not reached:
        best = max(values, key=values.__getitem__)
        raise ThresholdUnreachable(
            f"{label}: no threshold has {rule.metric} >= {rule.at_least:g} on the {len(scored.scores_N)} entries held "
            f"out for it; the highest is {values[best]:.4f}, from the probability {levels[best]:.4g} on"
        )
    return min(reached) if rule.metric == "precision" else max(reached)


def _midway(below: float, above: float) -> float:
    """A short number between two scores; `above` itself where they are next to each other."""
    middle = (below + above) / 2
    # A fixed number of digits would round the threshold of a rare label to 0, and everything would be present.
    return next((short for digits in range(4, 17) if below < (short := round(middle, digits)) < above), above)
