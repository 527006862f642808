"""Boxes as annotation files give them, brought to fractions of the frame."""

import math

from model_training.sources.annotated_frame import Box

# Exporters round: a box that sticks out by less than this is not worth a note.
ROUNDING = 1e-3


def fractions_of(corners_px: tuple[float, float, float, float], width_px: float, height_px: float) -> Box:
    """Corners x0, y0, x1, y1 in pixels as fractions of a frame's width and height, not clipped.

    >>> fractions_of((0, 10, 50, 20), 100, 40)
    (0.0, 0.25, 0.5, 0.5)
    """
    x0, y0, x1, y1 = corners_px
    return x0 / width_px, y0 / height_px, x1 / width_px, y1 / height_px


def around(points: list[tuple[float, float]]) -> Box:
    """The smallest box around a polygon's points, in the points' own unit."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return min(xs), min(ys), max(xs), max(ys)


def clipped(box: Box) -> Box | None:
    """The part of a box that lies inside the frame, or None where that has no area or a corner is not a number.

    >>> clipped((-0.1, 0.2, 0.5, 1.5))
    (0.0, 0.2, 0.5, 1.0)
    >>> clipped((1.2, 0.0, 1.4, 1.0)) is None
    True
    """
    if not all(math.isfinite(corner) for corner in box):
        return None
    x0, y0, x1, y1 = (min(1.0, max(0.0, corner)) for corner in box)
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def sticks_out(box: Box) -> bool:
    """Whether a box leaves its frame by more than rounding explains."""
    return min(box) < -ROUNDING or max(box) > 1 + ROUNDING
