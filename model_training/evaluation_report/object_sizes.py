"""How large must an object be? What the threshold finds, by the size of the largest box in a frame.

# N = frames, L = labels
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import inf, nan, sqrt
from typing import Final

from model_training.label_table import LabelTable
from model_training.metrics import Floats
from model_training.sources.annotated_frame import Box

EDGES_PX: Final = (0.0, 16.0, 32.0, inf)
"""Where one range of sizes ends and the next begins: sides of a square as large as the box, in the network's pixels."""


@dataclass(frozen=True, slots=True)
class SizeRecall:
    """Of `n` frames whose largest box of a label is so large, `found` have it by the file's own threshold.

    `from_px` belongs to the range, `below_px` does not; None is without end.
    """

    label: str
    from_px: float
    below_px: float | None
    n: int
    found: int

    @property
    def recall(self) -> float:
        """The share that is found; NaN where there are none."""
        return self.found / self.n if self.n else nan


def recall_by_size(
    table: LabelTable, probabilities_NL: Floats, thresholds: Mapping[str, float], frame_px: tuple[int, int]
) -> Iterator[SizeRecall]:
    """For each label that has boxes, and each range of sizes; `frame_px` is the network's (height, width)."""
    for place, label in enumerate(table.labels):
        of_label = [
            (_largest_px(table.boxes[row][label], frame_px), probabilities_NL[row, place] >= thresholds[label])
            for row in range(len(table))
            if table.boxes[row].get(label)
        ]
        for from_px, below_px in pairwise(EDGES_PX) if of_label else ():
            found = [is_found for size_px, is_found in of_label if from_px <= size_px < below_px]
            yield SizeRecall(label, from_px, None if below_px == inf else below_px, len(found), int(sum(found)))


def _largest_px(boxes: tuple[Box, ...], frame_px: tuple[int, int]) -> float:
    height, width = frame_px
    return max(sqrt((x1 - x0) * width * (y1 - y0) * height) for x0, y0, x1, y1 in boxes)
