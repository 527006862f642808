"""At which size a batch is trained, and what can still be made out at that size.

# H/W = height/width in pixels
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from model_training.augmentation.changes import SURE, Sample
from model_training.configuration import TrainingConfiguration
from model_training.label_table import PRESENT, UNKNOWN
from model_training.sources.annotated_frame import Box
from model_training.teacher.file import Hint, Hints

Size = tuple[int, int]
"""Height and width in pixels."""

_STRIDE: Final = 32
# Neither a sure sign of an object nor background.
_DOUBTFUL: Final = SURE - 0.01


@dataclass(frozen=True, slots=True)
class FrameSizes:
    """The size of every batch of a run: drawn anew for each, but all of it in the last share of the steps.

    Objects are learned at more sizes so, and most steps cost less (Redmon and Farhadi, YOLO9000, CVPR 2017).
    """

    full: Size
    smallest_scale: float
    full_size_from_epoch: float

    @classmethod
    def of(cls, configuration: TrainingConfiguration) -> "FrameSizes":
        """Those that a configuration describes."""
        from_epoch = configuration.epochs * (1 - configuration.full_size_share)
        return cls((configuration.height, configuration.width), configuration.smallest_scale, from_epoch)

    def at(self, seed: int, epoch: int, batch: int, batches: int) -> Size:
        """Of one of an epoch's `batches`, a function of the arguments alone; smaller sides are multiples of 32."""
        if epoch + batch / batches >= self.full_size_from_epoch or self.smallest_scale == 1:
            return self.full
        scale = np.random.default_rng((seed, epoch, batch)).uniform(self.smallest_scale, 1)
        height, width = (max(_STRIDE, round(scale * side / _STRIDE) * _STRIDE) for side in self.full)
        return height, width


def resolvable(sample: Sample, size: Size, smallest_px: float) -> Sample:
    """`sample` without claims about objects that no network could see once the frame is scaled to `size`.

    An object is too small when the square root of its area is below `smallest_px` pixels. A label of which only such
    are there becomes unknown, and where they are the map is neither inside nor outside. To insist on them would teach
    to recognise the frame in place of the object.
    """

    def visible(box: Box) -> bool:
        return (box[2] - box[0]) * size[1] * (box[3] - box[1]) * size[0] >= smallest_px**2

    boxes = {label: tuple(filter(visible, all_boxes)) for label, all_boxes in sample.boxes.items()}
    hints = _visible_hints(sample.hints, visible) | {
        label: tuple(Hint(box, _DOUBTFUL) for box in all_boxes if not visible(box))
        for label, all_boxes in sample.boxes.items()
        if len(boxes[label]) < len(all_boxes)
    }
    lost = _lost(sample, boxes, hints)
    return replace(
        sample,
        entries={label: UNKNOWN if label in lost else entry for label, entry in sample.entries.items()},
        boxes={label: left for label, left in boxes.items() if label not in lost},
        soft={label: p for label, p in sample.soft.items() if label not in lost},
        hints=hints,
    )


def _visible_hints(hints: Hints, visible: Callable[[Box], bool]) -> dict[str, tuple[Hint, ...]]:
    return {
        label: tuple(hint if visible(hint.box) else Hint(hint.box, min(hint.probability, _DOUBTFUL)) for hint in told)
        for label, told in hints.items()
    }


def _lost(sample: Sample, boxes: Mapping[str, tuple[Box, ...]], hints: Hints) -> set[str]:
    """Labels of which everything that tells that they are there is too small."""
    boxed = {label for label, left in boxes.items() if sample.entries.get(label) == PRESENT and not left}
    hinted = {label for label, told in sample.hints.items() if _is_sure(told) and not _is_sure(hints[label])}
    return boxed | hinted


def _is_sure(hints: tuple[Hint, ...]) -> bool:
    return any(hint.probability >= SURE for hint in hints)
