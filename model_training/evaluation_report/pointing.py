"""Where the network looks: does the peak of a label's evidence lie in a box of the label?

The pointing game of Zhang et al. (ECCV 2016). # N = frames, L = labels, h/w = evidence grid
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_training.evaluation_report.served_model import ServedModel
from model_training.label_table import PRESENT, LabelTable
from model_training.metrics import interval
from model_training.sources.annotated_frame import Box
from model_training.sources.image_folders import upright_size
from model_training.tracking import Tracking, untracked

TOLERANCE_PX = 15
"""How far beside a box the peak may lie in the tolerant reading, in pixels of the image file."""


@dataclass(frozen=True, slots=True)
class Pointing:
    """Shares of frames in which the peak hits, with their 95 % intervals.

    `strict` asks for the centre of the peak's cell inside a box, `tolerant` for at most `TOLERANCE_PX` beside one.
    `by_chance` is the share of the strict hits that a peak anywhere in the frame would have: the boxes' part of it.
    """

    label: str
    n: int
    strict: float
    strict_low: float
    strict_high: float
    tolerant: float
    tolerant_low: float
    tolerant_high: float
    by_chance: float


@dataclass(frozen=True, slots=True)
class Aim:
    """One frame and label: where the peak is, in fractions of width and height, and how much of it hits."""

    row: int
    label: str
    x: float
    y: float
    strict: float
    tolerant: float
    by_chance: float


def aims(model: ServedModel, table: LabelTable, tracking: Tracking = untracked) -> list[Aim]:
    """One for each frame and label of `table` that is present and has boxes."""
    boxed = [row for row in range(len(table)) if any(_is_boxed(table, row, label) for label in table.labels)]
    some = table.rows(boxed)
    outputs = model.outputs(some.images, "pointing game", tracking)
    maps = (evidence_Lhw for batch in outputs for evidence_Lhw in batch.evidence_BLhw)
    return [
        aim
        for row, image, evidence_Lhw in zip(boxed, some.images, maps, strict=True)
        for aim in _of_frame(table, row, image, evidence_Lhw)
    ]


def _is_boxed(table: LabelTable, row: int, label: str) -> bool:
    return bool(table.boxes[row].get(label)) and table.entries_NL[row, table.labels.index(label)] == PRESENT


def _of_frame(table: LabelTable, row: int, image: Path, evidence_Lhw: NDArray[np.float32]) -> Iterator[Aim]:
    size_px = upright_size(image)
    for label, evidence_hw in zip(table.labels, evidence_Lhw, strict=True):
        if _is_boxed(table, row, label):
            yield aim_of(row, label, evidence_hw, table.boxes[row][label], size_px)


def aim_of(
    row: int, label: str, evidence_hw: NDArray[np.float32], boxes: Sequence[Box], size_px: tuple[int, int]
) -> Aim:
    """The peak of a map against boxes; where several cells share the peak, a hit counts by the share of them."""
    peaks = list(peak_centres(evidence_hw))
    distances = np.array([min(distance_px(x, y, box, size_px) for box in boxes) for x, y in peaks])
    strict, tolerant = float(np.mean(distances == 0)), float(np.mean(distances <= TOLERANCE_PX))
    return Aim(row, label, *peaks[0], strict, tolerant, _by_chance(boxes, evidence_hw.shape))


def peak_centres(evidence_hw: NDArray[np.float32]) -> Iterator[tuple[float, float]]:
    """x and y of the centres of the cells with the most evidence, in fractions of width and height."""
    height, width = evidence_hw.shape
    for row, column in np.argwhere(evidence_hw == evidence_hw.max()):
        yield (float(column) + 0.5) / width, (float(row) + 0.5) / height


def distance_px(x: float, y: float, box: Box, size_px: tuple[int, int]) -> float:
    """From a point to the nearest point of a box, 0 inside; all but the size (width, height) in fractions."""
    x0, y0, x1, y1 = box
    across, down = max(x0 - x, 0, x - x1), max(y0 - y, 0, y - y1)
    return float(np.hypot(across * size_px[0], down * size_px[1]))


def _by_chance(boxes: Sequence[Box], grid: tuple[int, ...]) -> float:
    everywhere = peak_centres(np.zeros(grid, np.float32))
    return float(np.mean([any(distance_px(x, y, box, (1, 1)) == 0 for box in boxes) for x, y in everywhere]))


def pointing_game(aims: Iterable[Aim], table: LabelTable, resamples: int = 1000) -> list[Pointing]:
    """Per label the shares of hits with intervals from resampling scenes; labels without a boxed frame are left out."""
    every = list(aims)
    by_label = {label: [aim for aim in every if aim.label == label] for label in table.labels}
    return [_pointing(label, found, table, resamples) for label, found in by_label.items() if found]


def _pointing(label: str, aims: Sequence[Aim], table: LabelTable, resamples: int) -> Pointing:
    groups = [table.groups[aim.row] for aim in aims]
    strict = _share([aim.strict for aim in aims], groups, resamples)
    tolerant = _share([aim.tolerant for aim in aims], groups, resamples)
    by_chance = float(np.mean([aim.by_chance for aim in aims]))
    return Pointing(label, len(aims), *strict, *tolerant, round(by_chance, 4))


def _share(hits: Sequence[float], groups: Sequence[str], resamples: int) -> tuple[float, float, float]:
    hits_N = np.asarray(hits)
    low, high = interval(lambda rows: float(hits_N[rows].mean()), groups, resamples)
    return round(float(hits_N.mean()), 4), round(low, 4), round(high, 4)
