"""Average precision as frames get worse.

# N = frames, B = frames in a batch, L = labels
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from model_training.evaluation import BATCH_FRAMES, Judged, judged
from model_training.evaluation_report.corruptions import CORRUPTIONS, SEVERITIES, SIDE_PX, Corruption, Frame
from model_training.evaluation_report.served_model import ServedModel
from model_training.label_table import LabelTable
from model_training.metrics import Floats, average_precision, interval
from model_training.sources.readable_images import decoded
from model_training.tracking import Tracking, untracked
from service.inference.decoding import decode_at_least, resize


@dataclass(frozen=True, slots=True)
class Robustness:
    """Average precision of a label in a test set under one corruption; severity 0 is none."""

    corruption: str
    severity: int
    test_set: str
    label: str
    value: float
    low: float
    high: float
    n: int
    positives: int


def robustness(
    model: ServedModel,
    table: LabelTable,
    test_sets: Mapping[str, Sequence[str]],
    seed: int = 0,
    tracking: Tracking = untracked,
    corruptions: Mapping[str, Corruption] = CORRUPTIONS,
    resamples: int = 1000,
) -> list[Robustness]:
    """Every corruption and severity on every frame of `table`; a row of severity 0 per corruption is the same measure.

    Frames longer than `SIDE_PX` pixels are first reduced to it, so that a severity means the same for every camera.
    Raises ImageChanged.
    """
    found = []
    untouched = _measured(table, _scores(model, table, None, 0, seed, tracking), test_sets, resamples)
    for name, corruption in corruptions.items():
        found += [Robustness(name, 0, *measures) for measures in untouched]
        for severity in SEVERITIES:
            scores_NL = _scores(model, table, corruption, severity, seed, tracking)
            measures = _measured(table, scores_NL, test_sets, resamples)
            found += [Robustness(name, severity, *of_label) for of_label in measures]
    return found


Measures = tuple[str, str, float, float, float, int, int]


def _measured(
    table: LabelTable, scores_NL: Floats, test_sets: Mapping[str, Sequence[str]], resamples: int
) -> list[Measures]:
    return list(_of_each(table, scores_NL, test_sets, resamples))


def _of_each(
    table: LabelTable, scores_NL: Floats, test_sets: Mapping[str, Sequence[str]], resamples: int
) -> Iterator[Measures]:
    for one in judged(table, scores_NL, test_sets):
        value = average_precision(one.present_N, one.scores_N)
        low, high = interval(partial(_precision_of, one), one.groups_N, resamples)
        low, high = (0.0, 1.0) if np.isnan(low) else (low, high)
        rounded = round(value, 4), round(low, 4), round(high, 4)
        yield one.test_set, one.label, *rounded, len(one.present_N), int(one.present_N.sum())


def _precision_of(one: Judged, rows: NDArray[np.intp]) -> float:
    return average_precision(one.present_N[rows], one.scores_N[rows])


def _scores(
    model: ServedModel,
    table: LabelTable,
    corruption: Corruption | None,
    severity: int,
    seed: int,
    tracking: Tracking,
) -> NDArray[np.float32]:
    name = f"{corruption.__name__} {severity} of {SEVERITIES[-1]}" if corruption else "frames as they are"
    batches = [range(first, min(first + BATCH_FRAMES, len(table))) for first in range(0, len(table), BATCH_FRAMES)]
    found = [
        model.session.run(
            np.stack([_frame(model, table.images[row], corruption, severity, (seed, row)) for row in batch])
        ).probabilities_BL
        for batch in tracking(batches, name, len(batches))
    ]
    return np.concatenate(found)


def _frame(
    model: ServedModel, image: Path, corruption: Corruption | None, severity: int, seed: tuple[int, int]
) -> Frame:
    frame_HWC = reduced(decoded(decode_at_least, image, SIDE_PX, SIDE_PX))
    if corruption is not None:
        frame_HWC = corruption(frame_HWC, severity, np.random.default_rng(seed))
    return resize(frame_HWC, *model.size)


def reduced(frame_HWC: Frame) -> Frame:
    """The frame with a longer side of at most `SIDE_PX` pixels."""
    scale = SIDE_PX / max(frame_HWC.shape[:2])
    if scale >= 1:
        return frame_HWC
    height, width = (max(1, round(side * scale)) for side in frame_HWC.shape[:2])
    return np.asarray(cv2.resize(frame_HWC, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
