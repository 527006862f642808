"""Changes to training frames under which what is said of them stays true.

A crop can lose an object. What it does to a label is derived from the boxes; where there are none, a present label
keeps the frame from being cropped.

# H/W = height/width in pixels, L = labels
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from model_training.configuration import AugmentationConfiguration
from model_training.label_table import ABSENT, PRESENT, UNKNOWN
from model_training.sources.annotated_frame import Box
from model_training.teacher.file import Hint, Hints

VISIBLE_SHARE = 0.5
"""A box counts as seen in a crop when at least this share of its area is inside."""
SURE = 0.7
"""A teacher's box shows where a label is from this probability on."""
DOUBTFUL = 0.1
"""Below this probability a teacher's box is background; between the two it says nothing."""
NOT_SEEN = 0.03
"""How likely a label is there where its teacher looked and saw no box."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A frame at any size, and what is known of it.

    `entries` maps every label to PRESENT, ABSENT or UNKNOWN; `boxes` holds the labels whose boxes are complete;
    `soft` holds a teacher's probability for labels that are unknown, `hints` its boxes for labels that are unknown, or
    present without boxes.
    """

    frame_HWC: NDArray[np.uint8]
    entries: Mapping[str, int]
    boxes: Mapping[str, tuple[Box, ...]]
    soft: Mapping[str, float]
    hints: Hints = field(default_factory=dict)


def seen_differently(sample: Sample, configuration: AugmentationConfiguration, random: np.random.Generator) -> Sample:
    """Another view of the scene: a part of it, from farther off, mirrored. The pixels stay as they were recorded."""
    if random.random() < configuration.crop and can_be_cropped(sample):
        sample = crop(sample, _window(configuration.smallest_crop, random))
    elif random.random() < configuration.zoom_out:
        sample = zoom_out(sample, *_placement(configuration.largest_canvas, random), random.integers(0, 256, 3))
    if random.random() < configuration.mirror and can_be_mirrored(sample, configuration.unmirrored):
        sample = mirror(sample)
    return sample


def recorded_differently(
    sample: Sample, configuration: AugmentationConfiguration, random: np.random.Generator
) -> Sample:
    """The same view by another camera: exposure, colour, focus, sensor noise, compression."""
    return replace(sample, frame_HWC=_by_another_camera(sample.frame_HWC, configuration, random))


def can_be_cropped(sample: Sample) -> bool:
    """Whether boxes, or a teacher's sure ones, tell what a crop leaves of every label that is present."""
    return all(
        label in sample.boxes or _likeliest(sample.hints.get(label, ())) >= SURE
        for label, entry in sample.entries.items()
        if entry == PRESENT
    )


def crop(sample: Sample, window: Box) -> Sample:
    """Cut out `window`.

    A label stays present while a box of it is seen by `VISIBLE_SHARE` or more, becomes absent when no box reaches
    into the window, and unknown in between. Absent stays absent. A label that is present without boxes of its own stays
    so while a sure hint is seen, else it is unknown. What the teacher says follows from the hints that are left; where
    the likeliest is cut, or none is left that could say what a high score was for, it says nothing.
    """
    kept = {label: tuple(_seen(box, window) for box in boxes) for label, boxes in sample.boxes.items()}
    hints = {label: _seen_hints(hints, window) for label, hints in sample.hints.items()}
    entries = {
        label: _entry_after_crop(entry, kept[label]) if label in kept else _entry_by_hints(entry, hints.get(label))
        for label, entry in sample.entries.items()
    }
    # A label that became unknown has no complete boxes any more: something half seen is neither object nor background.
    boxes = {
        label: tuple(box for box, share in seen if share > 0)
        for label, seen in kept.items()
        if entries.get(label) != UNKNOWN
    }
    soft = {
        label: p
        for label, entry in entries.items()
        if entry == UNKNOWN
        and label not in kept
        and (p := _soft_after_crop(sample, label, hints.get(label))) is not None
    }
    return Sample(_cut(sample.frame_HWC, window), entries, boxes, soft, {k: v.left for k, v in hints.items()})


def zoom_out(sample: Sample, left: float, top: float, side: float, colour: NDArray[np.integer]) -> Sample:
    """Put the frame on a canvas `side` times its width and height, at `left`, `top` in fractions of the canvas."""
    height, width = sample.frame_HWC.shape[:2]
    canvas_HWC = np.empty((round(height * side), round(width * side), 3), np.uint8)
    canvas_HWC[:] = colour
    y, x = int(top * canvas_HWC.shape[0]), int(left * canvas_HWC.shape[1])
    canvas_HWC[y : y + height, x : x + width] = sample.frame_HWC
    return _moved(
        sample,
        canvas_HWC,
        lambda box: (left + box[0] / side, top + box[1] / side, left + box[2] / side, top + box[3] / side),
    )


def can_be_mirrored(sample: Sample, unmirrored: tuple[str, ...]) -> bool:
    """Whether no label that bears writing is, or may be, in the frame."""
    return all(sample.entries.get(label) != PRESENT and sample.soft.get(label, 0.0) < 0.5 for label in unmirrored)


def mirror(sample: Sample) -> Sample:
    """Swap left and right."""
    mirrored_HWC = np.ascontiguousarray(sample.frame_HWC[:, ::-1])
    return _moved(sample, mirrored_HWC, lambda box: (1 - box[2], box[1], 1 - box[0], box[3]))


def _moved(sample: Sample, frame_HWC: NDArray[np.uint8], to: Callable[[Box], Box]) -> Sample:
    """`sample` in another frame, in which each box is where `to` says."""
    boxes = {label: tuple(to(box) for box in boxes) for label, boxes in sample.boxes.items()}
    hints = {label: tuple(Hint(to(box), p) for box, p in hints) for label, hints in sample.hints.items()}
    return replace(sample, frame_HWC=frame_HWC, boxes=boxes, hints=hints)


def _window(smallest: float, random: np.random.Generator) -> Box:
    """A window of `smallest` to all of the area, its sides stretched against each other by up to two fifths."""
    area, stretch = random.uniform(smallest, 1), np.exp(random.uniform(-0.35, 0.35))
    width, height = min(1.0, np.sqrt(area) * stretch), min(1.0, np.sqrt(area) / stretch)
    x0, y0 = random.uniform(0, 1 - width), random.uniform(0, 1 - height)
    return (x0, y0, x0 + width, y0 + height)


def _placement(largest: float, random: np.random.Generator) -> tuple[float, float, float]:
    side = random.uniform(1, largest)
    left, top = random.uniform(0, 1 - 1 / side, 2)
    return float(left), float(top), side


def _seen(box: Box, window: Box) -> tuple[Box, float]:
    """`box` in fractions of `window`, clipped to it, and the share of its area that is inside."""
    x0, y0, x1, y1 = (max(box[0], window[0]), max(box[1], window[1]), min(box[2], window[2]), min(box[3], window[3]))
    if x1 <= x0 or y1 <= y0:
        return (0.0, 0.0, 0.0, 0.0), 0.0
    width, height = window[2] - window[0], window[3] - window[1]
    inside = ((x0 - window[0]) / width, (y0 - window[1]) / height, (x1 - window[0]) / width, (y1 - window[1]) / height)
    return inside, (x1 - x0) * (y1 - y0) / ((box[2] - box[0]) * (box[3] - box[1]))


def _entry_after_crop(entry: int, seen: tuple[tuple[Box, float], ...]) -> int:
    if entry != PRESENT:
        return entry
    best = max((share for _, share in seen), default=None)
    if best is None:
        return UNKNOWN
    return PRESENT if best >= VISIBLE_SHARE else ABSENT if best == 0 else UNKNOWN


@dataclass(frozen=True, slots=True)
class _SeenHints:
    """What a window leaves of a label's hints: `likeliest` of those seen, and of those it cuts."""

    left: tuple[Hint, ...]
    likeliest: float
    likeliest_cut: float


def _seen_hints(hints: tuple[Hint, ...], window: Box) -> _SeenHints:
    seen = [(*_seen(hint.box, window), hint.probability) for hint in hints]
    whole = tuple(Hint(box, p) for box, share, p in seen if share >= VISIBLE_SHARE)
    # A part of an object is no longer a sure sign of it, but no background either.
    cut = tuple(Hint(box, p) for box, share, p in seen if 0 < share < VISIBLE_SHARE)
    doubtful = tuple(Hint(box, min(p, SURE - 0.01)) for box, p in cut)
    return _SeenHints(whole + doubtful, _likeliest(whole), _likeliest(cut))


def _likeliest(hints: tuple[Hint, ...]) -> float:
    return max((hint.probability for hint in hints), default=0.0)


def _entry_by_hints(entry: int, hints: _SeenHints | None) -> int:
    if entry != PRESENT:
        return entry
    return PRESENT if hints is not None and hints.likeliest >= SURE else UNKNOWN


def _soft_after_crop(sample: Sample, label: str, hints: _SeenHints | None) -> float | None:
    """The teacher's probability for what is left, None where it cannot be told."""
    whole = sample.soft.get(label)
    if hints is None:
        return whole if whole is not None and whole < DOUBTFUL else None
    if hints.likeliest_cut > max(hints.likeliest, DOUBTFUL):
        return None
    left = max(hints.likeliest, NOT_SEEN)
    return left if whole is None else min(left, max(whole, NOT_SEEN))


def _cut(frame_HWC: NDArray[np.uint8], window: Box) -> NDArray[np.uint8]:
    height, width = frame_HWC.shape[:2]
    x0, y0 = int(window[0] * width), int(window[1] * height)
    x1, y1 = max(x0 + 1, round(window[2] * width)), max(y0 + 1, round(window[3] * height))
    return frame_HWC[y0:y1, x0:x1]


def _by_another_camera(
    frame_HWC: NDArray[np.uint8], configuration: AugmentationConfiguration, random: np.random.Generator
) -> NDArray[np.uint8]:
    if random.random() < configuration.colour:
        frame_HWC = _recoloured(frame_HWC, random)
    if random.random() < configuration.blur:
        frame_HWC = np.asarray(cv2.GaussianBlur(frame_HWC, (0, 0), random.uniform(0.4, 1.5)), np.uint8)
    if random.random() < configuration.noise:
        noise_HWC = random.normal(0, random.uniform(2, 12), frame_HWC.shape)
        frame_HWC = np.clip(frame_HWC + noise_HWC, 0, 255).astype(np.uint8)
    if random.random() < configuration.jpeg:
        frame_HWC = _recompressed(frame_HWC, int(random.integers(30, 90)))
    return frame_HWC


def _recoloured(frame_HWC: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Exposure, contrast, white balance and gamma as one table per channel, then saturation.

    Hue stays: red is what makes a stop sign and a light what they are.
    """
    levels = np.arange(256) / 255
    contrast, exposure, gamma = random.uniform(0.6, 1.3), random.uniform(0.5, 1.3), np.exp(random.uniform(-0.4, 0.4))
    balance_C = random.uniform(0.92, 1.08, 3)
    curve = np.clip((levels**gamma - 0.5) * contrast + 0.5, 0, 1) * exposure
    table_1x256xC = np.clip(curve[:, None] * balance_C * 255, 0, 255).astype(np.uint8)[np.newaxis]
    coloured_HWC = cv2.LUT(np.ascontiguousarray(frame_HWC), table_1x256xC)
    grey_HW = cv2.cvtColor(coloured_HWC, cv2.COLOR_RGB2GRAY)
    saturation = random.uniform(0.6, 1.3)
    grey_HWC = cv2.cvtColor(grey_HW, cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.addWeighted(coloured_HWC, saturation, grey_HWC, 1 - saturation, 0), np.uint8)


def _recompressed(frame_HWC: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    bgr_HWC = cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr_HWC, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded_HWC = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))
    return np.asarray(cv2.cvtColor(decoded_HWC, cv2.COLOR_BGR2RGB), np.uint8)
