"""A slow disk, and what there is to keep on it."""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from service.inference.decoding import FrameLimits
from service.inference.detector import Detection, Detector
from service.label_folder.folder import LabelFolder
from service.label_folder.intake import Bounds, Outcome, UncertainFrame
from tests.service.conftest import GatedSession
from tests.tiny_model import tiny_metadata

DETECTOR = Detector(tiny_metadata(), GatedSession(), FrameLimits())


def detection(red: float, green: float = 0.01) -> Detection:
    """What the tiny model could have answered; both thresholds are 0.5."""
    evidence_Lhw = np.zeros((2, 1, 1), np.float32)
    return Detection(3, 2, {"red": red, "green": green}, (), evidence_Lhw, 0.0, 0.0)


class GatedFolder(LabelFolder):
    """A folder on a slow disk: writing waits for the gate, and may fail; remembers what was written together."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.gate, self.entered = threading.Event(), threading.Semaphore(0)
        self.batches: list[int] = []
        self.failure: Exception | None = None

    def keep(self, frames: Sequence[UncertainFrame], bounds: Bounds) -> list[Outcome]:  # type: ignore[override]
        """Keep, once the gate is open."""
        self.batches.append(len(frames))
        self.entered.release()
        assert self.gate.wait(timeout=30)
        if self.failure:
            raise self.failure
        return super().keep(frames, bounds)

    def __enter__(self) -> "GatedFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
