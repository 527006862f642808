"""How near a probability is to its threshold: the distance of their logits.

Calibrated probabilities are odds in disguise. A distance of 1 means that the odds are within a factor e = 2.7 of the
threshold's, wherever that lies: 0.27 to 0.73 around 0.5, 0.04 to 0.23 around 0.1. The plain difference would call
every small probability near to a small threshold.
"""

import math
from collections.abc import Mapping
from typing import Final

# Probabilities come with six decimals: what is shown as 0 or 1 is nearer to it than any that is shown otherwise.
_FINEST: Final = 5e-7


def near_labels(probabilities: Mapping[str, float], thresholds: Mapping[str, float], margin: float) -> dict[str, float]:
    """The labels within `margin` of their threshold and their distances, the nearest first.

    >>> near_labels({"car": 0.9, "sign": 0.5}, {"car": 0.5, "sign": 0.4}, margin=1.0)
    {'sign': 0.405...}
    """
    found = {label: distance(probabilities[label], threshold) for label, threshold in thresholds.items()}
    return dict(sorted(((label, far) for label, far in found.items() if far <= margin), key=lambda item: item[1]))


def distance(probability: float, threshold: float) -> float:
    """|logit(probability) - logit(threshold)|; finite also for 0 and 1."""
    return abs(_logit(probability) - _logit(threshold))


def _logit(probability: float) -> float:
    clipped = min(max(probability, _FINEST), 1 - _FINEST)
    return math.log(clipped / (1 - clipped))
