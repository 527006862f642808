"""A YOLOX detector's boxes on frames that nobody boxed, from several views of each frame.

# K = boxes, A = cells of the detector's grids, H/W = height/width in pixels
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from scipy.special import expit, logit

from model_training.errors import InvalidConfiguration
from model_training.sources.readable_images import decoded
from model_training.teacher.file import NOTHING_FOUND, Hint, Hints
from service.inference.decoding import decode_at_least

STRIDES: Final = (8, 16, 32)
_GREY: Final = 114
_SAME_OBJECT_IOU: Final = 0.5
_TILE_SIDE: Final = 0.6
_WORTH_A_ROW: Final = 2 * NOTHING_FOUND
_LARGEST_FRAME: Final = 4096
CORNER_DIGITS: Final = 4
"""Of a box's corners, which are fractions of the frame."""

Boxes = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class View:
    """A part of a frame, in fractions of it, perhaps mirrored; views of one `kind` answer once for each object."""

    kind: int
    x0: float = 0.0
    y0: float = 0.0
    side: float = 1.0
    mirrored: bool = False


VIEWS: Final = (
    View(0),
    View(1, mirrored=True),
    *(View(2, x0, y0, _TILE_SIDE) for y0 in (0.0, 1 - _TILE_SIDE) for x0 in (0.0, 1 - _TILE_SIDE)),
)
"""The frame, its mirror image, and four overlapping tiles in which what is small is larger."""


class YoloxDetector:
    """A YOLOX file as its authors export it: float BGR 0..255 [1, 3, S, S] -> [1, A, 5 + classes], boxes undecoded.

    Raises InvalidConfiguration for a file that is not of that form.
    """

    def __init__(self, path: Path, classes: Mapping[str, int]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as problem:  # onnxruntime has no base class for what it raises
            raise InvalidConfiguration(f"{path} cannot be run: {problem}") from problem
        self.labels, self._columns = tuple(classes), [5 + number for number in classes.values()]
        self._input = self._session.get_inputs()[0]
        self.side = self._checked_side(path)
        self._cells_A2, self._strides_A1 = _grids(self.side)

    def _checked_side(self, path: Path) -> int:
        taken, given = self._input.shape, self._session.get_outputs()[0].shape
        match taken, given:
            case [1, 3, int(height), int(width)], [_, int(cells), int(columns)]:
                expected = sum((height // stride) ** 2 for stride in STRIDES)
                if height == width and cells == expected and columns > max(self._columns):
                    return height
        classes = ", ".join(f"{label}={column - 5}" for label, column in zip(self.labels, self._columns, strict=True))
        raise InvalidConfiguration(f"{path} takes {taken} and gives {given}: no YOLOX file with the classes {classes}")

    def boxes(self, frame_HWC: NDArray[np.uint8]) -> Boxes:
        """[K, 6] of label number, score >= NOTHING_FOUND, x0, y0, x1, y1 in pixels of the RGB frame; overlapping."""
        letterbox_1CHW, scale = self._letterbox(frame_HWC)
        raw_AX = np.asarray(self._session.run(None, {self._input.name: letterbox_1CHW})[0][0], np.float64)
        scores_AL = raw_AX[:, 4:5] * raw_AX[:, self._columns]
        cells, labels = np.nonzero(scores_AL > NOTHING_FOUND)
        centres_K2 = (raw_AX[cells, :2] + self._cells_A2[cells]) * self._strides_A1[cells] / scale
        halves_K2 = np.exp(raw_AX[cells, 2:4]) * self._strides_A1[cells] / scale / 2
        return np.column_stack([labels, scores_AL[cells, labels], centres_K2 - halves_K2, centres_K2 + halves_K2])

    def _letterbox(self, frame_HWC: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
        scale = self.side / max(frame_HWC.shape[:2])
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        resized_HWC = cv2.resize(frame_HWC, None, fx=scale, fy=scale, interpolation=interpolation)
        resized_HWC = resized_HWC[: self.side, : self.side, ::-1]
        letterbox_HWC = np.full((self.side, self.side, 3), _GREY, np.float32)
        letterbox_HWC[: resized_HWC.shape[0], : resized_HWC.shape[1]] = resized_HWC
        return np.ascontiguousarray(letterbox_HWC.transpose(2, 0, 1)[np.newaxis]), scale


def taught(detector: YoloxDetector, images: Sequence[Path], threads: int) -> Iterator[Hints]:
    """What the detector finds in each image, in their order; the same whatever the number of threads."""
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(lambda image: found(detector, image), images)


def found(detector: YoloxDetector, image: Path) -> Hints:
    """The objects of one image by label, each with its score averaged, as logits, over the views' kinds."""
    frame_HWC = decoded(decode_at_least, image, _LARGEST_FRAME, _LARGEST_FRAME)
    boxes_K7 = np.concatenate([_in_frame(detector, frame_HWC, view) for view in VIEWS])
    return {
        label: hints
        for j, label in enumerate(detector.labels)
        if (hints := tuple(_objects(boxes_K7[boxes_K7[:, 1] == j])))
    }


def _in_frame(detector: YoloxDetector, frame_HWC: NDArray[np.uint8], view: View) -> Boxes:
    """[K, 7] of the view's kind, label number, score and corners in fractions of the whole frame."""
    height, width = frame_HWC.shape[:2]
    left, top = int(view.x0 * width), int(view.y0 * height)
    right, bottom = round((view.x0 + view.side) * width), round((view.y0 + view.side) * height)
    part_HWC = frame_HWC[top:bottom, left:right]
    boxes_K6 = detector.boxes(np.ascontiguousarray(part_HWC[:, ::-1]) if view.mirrored else part_HWC)
    if view.mirrored:
        boxes_K6[:, [2, 4]] = part_HWC.shape[1] - boxes_K6[:, [4, 2]]
    boxes_K6[:, 2:] += (left, top, left, top)
    uncut = ~_cut(boxes_K6[:, 2:], (left, top, right, bottom), (width, height))
    # As exact as the file that they are written to: what has no area there has none.
    boxes_K6[:, 2:] = np.clip(boxes_K6[:, 2:] / (width, height, width, height), 0, 1).round(CORNER_DIGITS)
    has_area = (boxes_K6[:, 4] > boxes_K6[:, 2]) & (boxes_K6[:, 5] > boxes_K6[:, 3])
    return np.insert(boxes_K6[uncut & has_area], 0, view.kind, axis=1)


def _cut(corners_K4: Boxes, part: tuple[int, int, int, int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Boxes that a border of the part, where the frame goes on beyond it, cuts: their other half is not seen."""
    margin_px = 2
    left, top, right, bottom = part
    x0, y0, x1, y1 = corners_K4.T
    sides_cut = [
        (x0 < left + margin_px) & (left > 0),
        (y0 < top + margin_px) & (top > 0),
        (x1 > right - margin_px) & (right < size[0]),
        (y1 > bottom - margin_px) & (bottom < size[1]),
    ]
    return np.asarray(np.logical_or.reduce(sides_cut))


def _objects(boxes_K7: Boxes) -> Iterator[Hint]:
    """One box per object, best first; kinds of views that miss it say NOTHING_FOUND."""
    kinds = {view.kind for view in VIEWS}
    while len(boxes_K7):
        best_7 = boxes_K7[np.argmax(boxes_K7[:, 2])]
        same_K = _overlap_K(best_7[3:], boxes_K7[:, 3:]) > _SAME_OBJECT_IOU
        scores = [boxes_K7[same_K & (boxes_K7[:, 0] == kind), 2].max(initial=NOTHING_FOUND) for kind in kinds]
        score = float(expit(np.mean(logit(np.minimum(scores, 1 - NOTHING_FOUND)))))
        if score >= _WORTH_A_ROW:
            x0, y0, x1, y1 = (float(corner) for corner in best_7[3:])
            yield Hint((x0, y0, x1, y1), score)
        boxes_K7 = boxes_K7[~same_K]


def _overlap_K(box_4: Boxes, boxes_K4: Boxes) -> NDArray[np.float64]:
    """Intersection over union of one box with each of K."""
    low_K2, high_K2 = np.maximum(box_4[:2], boxes_K4[:, :2]), np.minimum(box_4[2:], boxes_K4[:, 2:])
    both_K = np.prod(np.clip(high_K2 - low_K2, 0, None), axis=1)
    areas_K = np.prod(boxes_K4[:, 2:] - boxes_K4[:, :2], axis=1)
    return np.asarray(both_K / (areas_K + np.prod(box_4[2:] - box_4[:2]) - both_K))


def _grids(side: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each cell's column and row [A, 2] and stride [A, 1], in the order in which the file lists them."""
    cells, strides = [], []
    for stride in STRIDES:
        rows, columns = np.divmod(np.arange((side // stride) ** 2), side // stride)
        cells.append(np.stack([columns, rows], axis=1))
        strides.append(np.full((len(rows), 1), stride))
    return np.concatenate(cells).astype(np.float64), np.concatenate(strides).astype(np.float64)
