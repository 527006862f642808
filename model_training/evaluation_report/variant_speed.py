"""How fast the precision variants beside a model file are, as ratios to it within one run."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from model_training.dataset import EvaluationFrames
from model_training.evaluation_report.served_model import ServedModel
from model_training.metrics import interval
from model_training.tracking import Tracking, untracked
from service.inference.artifact import Artifact, Precision, variant_path
from service.inference.session import ModelSession

ROUNDS = 40


@dataclass(frozen=True, slots=True)
class VariantSpeed:
    """Inference of one frame on one CPU thread, decoding not included; times are medians.

    `ratio` is how many times as fast as the file that was asked about it is, with a 95 % interval over rounds.
    """

    file: str
    precision: str
    frame_ms: float
    ratio: float
    low: float
    high: float

    @property
    def remark(self) -> str:
        """What to know when reading the row."""
        return "made for GPUs; on a CPU only a fallback" if self.precision == "float16" else ""


def variants_beside(path: Path) -> list[Path]:
    """The files of other precisions that the service would find beside a model file."""
    beside = [variant_path(path, precision) for precision in get_args(Precision)]
    return [file for file in beside if file != path and file.exists()]


def variant_speeds(
    model: ServedModel,
    images: Sequence[Path],
    tracking: Tracking = untracked,
    rounds: int = ROUNDS,
    clock: Callable[[], float] = time.perf_counter,
) -> list[VariantSpeed]:
    """The file itself and each variant beside it, in turn on the same frames, so that what else runs harms all alike.

    Each round takes the ratio of two neighbours in time; the medians are of rounds, whose first is not counted.
    """
    artifacts = [model.artifact, *(Artifact.read(path) for path in variants_beside(model.artifact.path))]
    sessions = [ModelSession(artifact, device="cpu", intra_op_threads=1) for artifact in artifacts]
    frames = EvaluationFrames(tuple(images), *model.size)
    seconds_RV = np.array(
        [
            [_seconds(session, frames[number % len(frames)], clock) for session in sessions]
            for number in tracking(range(rounds + 1), "speed of the variants", rounds + 1)
        ]
    )[1:]
    return [
        _speed(artifact, seconds_RV[:, 0], of_it_R) for artifact, of_it_R in zip(artifacts, seconds_RV.T, strict=True)
    ]


def _seconds(session: ModelSession, frame_HWC: NDArray[np.uint8], clock: Callable[[], float]) -> float:
    start = clock()
    session.run(frame_HWC[np.newaxis])
    return clock() - start


def _speed(artifact: Artifact, asked_R: NDArray[np.float64], of_it_R: NDArray[np.float64]) -> VariantSpeed:
    ratios_R = asked_R / of_it_R
    low, high = interval(lambda rows: float(np.median(ratios_R[rows])), [str(row) for row in range(len(ratios_R))])
    return VariantSpeed(
        artifact.path.name,
        artifact.metadata.precision,
        round(1000 * statistics.median(of_it_R.tolist()), 3),
        round(float(np.median(ratios_R)), 3),
        round(low, 3),
        round(high, 3),
    )
