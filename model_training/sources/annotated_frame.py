"""What every source yields: one frame and what somebody knows about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in fractions of the frame's width and height; 0 <= x0 < x1 <= 1, likewise y."""


class Place(NamedTuple):
    """Where an annotation file says something; `line` is None where the whole file does."""

    file: Path
    line: int | None = None


@dataclass(frozen=True, slots=True)
class AnnotatedFrame:
    """One image file, and for each label that somebody looked for whether it is there.

    `entries` maps a label's key to 1 (present) or 0 (absent); a label that is not in it is unknown.
    `boxes` maps a label's key to all its boxes in this frame; a label without a key has no complete boxes.
    `group` names the scene: frames of one group stay on one side of every split.
    `split` is "train", "test", "fit" (to learn from, but no fair sample to choose by or calibrate on) or None where the
    source does not say.
    `place` is where the frame is annotated, for messages; None where nothing but the image's own path says that it is.
    """

    image: Path
    entries: Mapping[str, int]
    source: str
    group: str
    boxes: Mapping[str, tuple[Box, ...]] = field(default_factory=dict)
    split: str | None = None
    licence: str = "unstated"
    place: Place | None = field(default=None, compare=False)
