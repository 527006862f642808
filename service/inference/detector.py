"""The whole story: encoded bytes -> frame -> probabilities -> labels.

# H/W = height/width of the network's input in pixels, C = 3 (RGB), L = labels, h/w = evidence grid
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.inference.artifact import ModelMetadata
from service.inference.decoding import FrameLimits, decode_frame
from service.inference.session import Device, Outputs
from service.inference.variants import Variant, open_model

# Six decimals are finer than any calibration; what is shown is what was compared with the threshold.
DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Detection:
    """What one frame shows.

    `width` and `height` are those of the encoded image in pixels; `probabilities` maps every label to [0, 1];
    `labels` are those at or above their threshold, in the model's order; `evidence_Lhw` is float32 on the network's
    own grid, rows from top to bottom; the two times are seconds.
    """

    width: int
    height: int
    probabilities: Mapping[str, float]
    labels: tuple[str, ...]
    evidence_Lhw: NDArray[np.float32]
    decode_s: float
    inference_s: float


class Session(Protocol):
    """What the detector asks of a model: one call, from any thread; and where it runs."""

    provider: str
    fallback_reason: str | None

    def run(self, frames_BHWC: NDArray[np.uint8]) -> Outputs:
        """Probabilities and evidence of a batch."""


class Detector:
    """Answers frames with one model; every method may be called from any thread.

    `precision_reason` says why the model runs in this precision.
    """

    def __init__(
        self, metadata: ModelMetadata, session: Session, limits: FrameLimits, precision_reason: str = ""
    ) -> None:
        self.metadata, self.session, self.limits = metadata, session, limits
        self.precision_reason = precision_reason
        self.thresholds: Mapping[str, float] = {label.key: label.threshold for label in metadata.labels}

    def detect(self, data: bytes) -> Detection:
        """What the encoded image shows. Raises FrameError: unsupported, damaged, or too many pixels."""
        started_s = time.monotonic()
        size = self.metadata.input
        frame = decode_frame(data, size.height, size.width, self.limits)
        decoded_s = time.monotonic()
        outputs = self.session.run(frame.frame_HWC[np.newaxis])
        rounded = outputs.probabilities_BL[0].astype(float).round(DECIMALS).tolist()
        probabilities = dict(zip(self.thresholds, rounded, strict=True))
        return Detection(
            width=frame.source_width,
            height=frame.source_height,
            probabilities=probabilities,
            labels=tuple(key for key, threshold in self.thresholds.items() if probabilities[key] >= threshold),
            evidence_Lhw=outputs.evidence_BLhw[0],
            decode_s=decoded_s - started_s,
            inference_s=time.monotonic() - decoded_s,
        )


def load_detector(
    model: Path, device: Device, threads: int, limits: FrameLimits, variant: Variant = "auto"
) -> Detector:
    """A detector whose model is loaded, reproduces its self-test and is warm. Raises StartupError."""
    running = open_model(model, device, variant, threads)
    running.session.warm_up()
    return Detector(running.artifact.metadata, running.session, limits, running.reason)
