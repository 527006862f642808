"""What a client answers with: frozen, typed, with numpy where there are arrays.

# L = labels, h/w = height/width of the evidence grid
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.client.errors import ClientError

Order = Literal["submission", "completion"]
"""How the outcomes of many frames are told: as the frames were given, or as they are done."""


@dataclass(frozen=True, slots=True)
class TimingMs:
    """Where the service spent its time on a frame, in milliseconds."""

    decode: float
    queue: float
    inference: float
    total: float


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What one frame shows.

    `probabilities` and `thresholds` name every label in the model's order, `labels` those at or above their threshold.
    `width` and `height` are pixels, upright. `evidence_Lhw` is in [0, 1] on the network's own grid, rows from top to
    bottom, with three decimals; None unless it was asked for. `model_fingerprint` tells the file that answered from
    others of its name and version; None where the service does not say.
    """

    name: str
    labels: tuple[str, ...]
    probabilities: Mapping[str, float]
    thresholds: Mapping[str, float]
    width: int
    height: int
    evidence_Lhw: NDArray[np.float32] | None
    model_name: str
    model_version: str
    timing_ms: TimingMs
    request_id: str
    model_fingerprint: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What became of one of many frames: a prediction, or the error that would have been raised for it alone.

    `index` counts the frames from 0 as they were given.
    """

    index: int
    name: str
    prediction: Prediction | None = None
    error: ClientError | None = None

    def result(self) -> Prediction:
        """The prediction. Raises the error where there is none."""
        if self.prediction is None:
            raise self.error or ClientError(f"{self.name} has no answer")
        return self.prediction


@dataclass(frozen=True, slots=True)
class Label:
    """One question that the model answers, and the probability from which the answer is yes."""

    key: str
    title: str
    threshold: float


@dataclass(frozen=True, slots=True)
class Model:
    """The model that serves. `width` and `height` are of its input in pixels; `card` is all that /model tells.

    `fingerprint` tells its file from others of its name and version; None where the service does not say.
    """

    name: str
    version: str
    labels: tuple[Label, ...]
    width: int
    height: int
    precision: str
    provider: str
    card: Mapping[str, Any]
    fingerprint: str | None = None
