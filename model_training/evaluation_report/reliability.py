"""Do probabilities say what they mean: on the test as on the rows that they were calibrated on?

# N = frames
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model_training.evaluation import CALIBRATION_GAP, Judged
from model_training.metrics import Floats, ReliabilityBin, expected_calibration_error, reliability_bins
from service.inference.artifact import Figure

FRAMES_IN_A_BIN: Final = 20
"""At least as many are in each bin that is shown, as far as there are; fewer show chance alone."""
MOST_BINS: Final = 15


@dataclass(frozen=True, slots=True)
class Reliability:
    """Probability against frequency of one label in one test set, in bins of equal numbers of frames.

    `error_by_chance` is what 95 % of perfectly calibrated models stay below on as many frames with these
    probabilities: a calibration error above it is no accident of few frames.
    """

    test_set: str
    label: str
    bins: tuple[ReliabilityBin, ...]
    error: float
    error_by_chance: float


def reliability(judged: Judged, seed: int = 0) -> Reliability:
    """The reliability of the probabilities in `judged`."""
    present_N, probabilities_N = judged.present_N, judged.scores_N
    bins = min(MOST_BINS, max(1, len(present_N) // FRAMES_IN_A_BIN))
    return Reliability(
        judged.test_set,
        judged.label,
        reliability_bins(present_N, probabilities_N, bins),
        expected_calibration_error(present_N, probabilities_N),
        error_by_chance(probabilities_N, seed),
    )


def error_by_chance(probabilities_N: Floats, seed: int = 0, draws: int = 1000) -> float:
    """The 95th percentile of the calibration error where each frame shows the label with just its probability.

    Consistency resampling (Bröcker and Smith, 2007). It takes frames for independent of each other.
    """
    random = np.random.default_rng(seed)
    errors = [expected_calibration_error(_drawn(probabilities_N, random), probabilities_N) for _ in range(draws)]
    return float(np.percentile(errors, 95))


def _drawn(probabilities_N: Floats, random: np.random.Generator) -> NDArray[np.bool_]:
    return random.random(len(probabilities_N)) < probabilities_N


def disagreements(figures: Sequence[Figure]) -> list[str]:
    """Where a test set contradicts the calibration split, one sentence each.

    Calibration makes the mean probability of its own frames the share in which the label is present. Where the 95 %
    interval of the difference between the two leaves out 0, frames of the test set are otherwise.
    """
    return list(_disagreements(figures))


def _disagreements(figures: Iterable[Figure]) -> Iterable[str]:
    for figure in figures:
        if figure.metric == CALIBRATION_GAP and not figure.low <= 0 <= figure.high:
            direction = "high" if figure.value > 0 else "low"
            low, high = sorted((abs(figure.low), abs(figure.high)))
            yield (
                f"{figure.label} in {figure.test_set}: probabilities are too {direction} by "
                f"{abs(figure.value):.3f} on average ({low:.3f} to {high:.3f}, {_counts(figure)})"
            )


def _counts(figure: Figure) -> str:
    return f"n {figure.n}" if figure.scenes is None else f"n {figure.n} in {figure.scenes} scenes"
