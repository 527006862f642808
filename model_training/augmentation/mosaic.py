"""Four changed frames in one: objects at more sizes, and no source to be recognised by its style.

# L = labels, H/W = height/width in pixels, h/w = evidence grid
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Quarter = Mapping[str, NDArray[Any]]
"""A frame [H, W, 3] with the targets that `dataset.targets` derives, of the size of its place in the mosaic."""


def quarter_sizes(
    height: int, width: int, stride: int, random: np.random.Generator
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Sizes (height, width) of top left, top right, bottom left and bottom right around a point near the middle.

    The point lies on the evidence grid, so that no cell belongs to two frames.
    """
    y, x = (int(random.uniform(0.35, 0.65) * side / stride) * stride for side in (height, width))
    return (y, x), (y, width - x), (height - y, x), (height - y, width - x)


def mosaic(quarters: Sequence[Quarter]) -> dict[str, NDArray[Any]]:
    """One frame with its targets from top left, top right, bottom left and bottom right.

    A label is present if it is in some quarter, absent if it is absent in all, else unknown; it is then as likely
    there as in at least one quarter, if a teacher said so for every quarter in which it is unknown.
    """
    present_L = np.any([(q["targets_BL"] > 0) & q["known_BL"] for q in quarters], axis=0)
    known_L = present_L | np.all([q["known_BL"] for q in quarters], axis=0)
    told_L = np.all([q["known_BL"] | q["soft_known_BL"] for q in quarters], axis=0)
    soft_L = 1 - np.prod([1 - np.where(q["soft_known_BL"], q["soft_BL"], 0) for q in quarters], axis=0)
    soft_known_L = told_L & ~known_L
    return {
        "frames_BHWC": four_in_one([q["frames_BHWC"] for q in quarters]),
        "targets_BL": present_L.astype(np.float32),
        "known_BL": known_L,
        "soft_BL": np.where(soft_known_L, soft_L, 0).astype(np.float32),
        "soft_known_BL": soft_known_L,
        "cells_BLhw": _joined([q["cells_BLhw"] for q in quarters], (1, 2)),
    }


def four_in_one(frames: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Frames [H, W, 3] of the quarters, in the order of `quarter_sizes`, as one."""
    return _joined(frames, (0, 1))


def _joined(parts: Sequence[NDArray[Any]], axes: tuple[int, int]) -> NDArray[Any]:
    down, across = axes
    top, bottom = (np.concatenate(pair, axis=across) for pair in (parts[:2], parts[2:]))
    return np.concatenate([top, bottom], axis=down)
