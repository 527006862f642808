"""Boxed objects of one frame put into another: signs and lights in scenes that have none, or whose own are boxed.

# H/W = height/width in pixels
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model_training.augmentation.changes import Sample
from model_training.label_table import ABSENT, PRESENT, LabelTable
from model_training.sources.annotated_frame import Box
from service.inference.decoding import resize

MARGIN: Final = 0.1
"""What is cut out around a box, as a share of its sides, and faded into the other frame."""
_SMALLEST_DONOR_SIDE: Final = 0.04
_SIDES: Final = (0.05, 0.25)
"""Least and largest height of a pasted object, as a share of the frame's height."""
_MOST_COVERED: Final = 0.3


@dataclass(frozen=True, slots=True)
class Donor:
    """A box of `label` in the frame of `row`."""

    row: int
    label: str
    box: Box


def donors(table: LabelTable, labels: Sequence[str]) -> tuple[Donor, ...]:
    """All boxes of `labels` that lie inside their frame and are large enough to be recognised elsewhere."""
    return tuple(
        Donor(row, label, box)
        for row, boxes in enumerate(table.boxes)
        for label in labels
        for box in boxes.get(label, ())
        if _is_whole(box)
    )


def pasted(sample: Sample, label: str, patch_HWC: NDArray[np.uint8], random: np.random.Generator) -> Sample:
    """`sample` with an object of `label` somewhere in it, or as it is where it would hide another object.

    It is present then, with complete boxes; so a frame in which the label may be elsewhere without a box stays as it is
    too: its map would say that nothing is there. `patch_HWC` is the object with `MARGIN` around it.
    """
    if label not in sample.boxes and sample.entries.get(label) != ABSENT:
        return sample
    box = _place(sample.frame_HWC.shape[:2], patch_HWC.shape[:2], random)
    others = [other for boxes in sample.boxes.values() for other in boxes]
    others += [hint.box for hints in sample.hints.values() for hint in hints]
    if any(_covered(other, box) > _MOST_COVERED for other in others):
        return sample
    frame_HWC = _faded_in(sample.frame_HWC, patch_HWC, box)
    soft = {key: p for key, p in sample.soft.items() if key != label}
    entries = {**sample.entries, label: PRESENT}
    boxes = {**sample.boxes, label: (*sample.boxes.get(label, ()), box)}
    return replace(sample, frame_HWC=frame_HWC, entries=entries, boxes=boxes, soft=soft)


def cut_out(frame_HWC: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """The pixels of `box` with `MARGIN` around it, as far as the frame reaches."""
    height, width = frame_HWC.shape[:2]
    across, down = MARGIN * (box[2] - box[0]), MARGIN * (box[3] - box[1])
    x0, y0 = max(0, round((box[0] - across) * width)), max(0, round((box[1] - down) * height))
    x1, y1 = round((box[2] + across) * width), round((box[3] + down) * height)
    return frame_HWC[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]


def _is_whole(box: Box) -> bool:
    inside = min(box) > MARGIN * _SMALLEST_DONOR_SIDE and max(box) < 1 - MARGIN * _SMALLEST_DONOR_SIDE
    return inside and min(box[2] - box[0], box[3] - box[1]) >= _SMALLEST_DONOR_SIDE


def _place(frame: tuple[int, ...], patch: tuple[int, ...], random: np.random.Generator) -> Box:
    """Where the object itself goes, in fractions; its shape in pixels stays."""
    height = float(np.exp(random.uniform(*np.log(_SIDES))))
    width = min(0.5, height * frame[0] / frame[1] * patch[1] / patch[0])
    x0, y0 = random.uniform(0, 1 - width), random.uniform(0, 1 - height)
    return (x0, y0, x0 + width, y0 + height)


def _covered(box: Box, by: Box) -> float:
    """The share of `box` that lies in `by`."""
    width = max(0.0, min(box[2], by[2]) - max(box[0], by[0]))
    height = max(0.0, min(box[3], by[3]) - max(box[1], by[1]))
    return width * height / ((box[2] - box[0]) * (box[3] - box[1]))


def _faded_in(frame_HWC: NDArray[np.uint8], patch_HWC: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """The patch over `box` and its margin; opaque on the box, fading to nothing at the margin's outer edge."""
    height, width = frame_HWC.shape[:2]
    across, down = MARGIN * (box[2] - box[0]), MARGIN * (box[3] - box[1])
    x0, y0 = max(0, round((box[0] - across) * width)), max(0, round((box[1] - down) * height))
    x1, y1 = min(width, round((box[2] + across) * width)), min(height, round((box[3] + down) * height))
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
    scaled_HWC = resize(patch_HWC, y1 - y0, x1 - x0).astype(np.float32)
    opacity_HW1 = np.minimum(_ramp(y1 - y0)[:, None], _ramp(x1 - x0)[None, :])[:, :, None]
    changed_HWC = frame_HWC.copy()
    under_HWC = changed_HWC[y0:y1, x0:x1].astype(np.float32)
    changed_HWC[y0:y1, x0:x1] = np.rint(under_HWC + opacity_HW1 * (scaled_HWC - under_HWC)).astype(np.uint8)
    return changed_HWC


def _ramp(length: int) -> NDArray[np.float32]:
    """From 0 at both ends up to 1 over the margin's share of `length`."""
    inward = np.minimum(np.arange(length) + 0.5, length - np.arange(length) - 0.5) / length
    return np.asarray(np.clip(inward * (1 + 2 * MARGIN) / MARGIN, 0, 1), np.float32)
