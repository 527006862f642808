"""The whole story: encoded bytes -> frame -> probabilities -> labels.

# H/W = height/width of the network's input in pixels, C = 3 (RGB), L = labels, h/w = evidence grid
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.inference.artifact import ModelMetadata
from service.inference.decoding import DecodedFrame, FrameLimits, Incoming, decode_frame, fit_frame
from service.inference.execution import ExecutionPlan
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


@dataclass(frozen=True, slots=True)
class ReadyFrame:
    """A decoded frame at the network's size, and the seconds that decoding took."""

    frame: DecodedFrame
    decode_s: float


class Session(Protocol):
    """What the detector asks of a model: one call, from any thread; and where it runs."""

    provider: str
    fallback_reason: str | None
    cuda_graphs: bool

    def run(self, frames_BHWC: NDArray[np.uint8]) -> Outputs:
        """Probabilities and evidence of a batch."""

    def bind(self, batch_sizes: Sequence[int]) -> Callable[[Sequence[NDArray[np.uint8]]], Outputs]:
        """Who runs frames in batches of these sizes, all of them warm; to be called from one thread at a time."""


class Detector:
    """Answers frames with one model; every method may be called from any thread.

    `precision_reason` says why the model runs in this precision, `fingerprint` which file it is.
    """

    def __init__(
        self,
        metadata: ModelMetadata,
        session: Session,
        limits: FrameLimits,
        precision_reason: str = "",
        fingerprint: str = "",
    ) -> None:
        self.metadata, self.session, self.limits = metadata, session, limits
        self.precision_reason, self.fingerprint = precision_reason, fingerprint
        self._height, self._width = metadata.input.height, metadata.input.width
        self.thresholds: Mapping[str, float] = {label.key: label.threshold for label in metadata.labels}

    def detect(self, data: bytes) -> Detection:
        """What the encoded image shows. Raises FrameError: unsupported, damaged, or too many pixels."""
        return self.infer(self.decode(data))

    def decode(self, incoming: Incoming) -> ReadyFrame:
        """The first half of `detect`: a frame of the network's size; pixels are only resized. Raises FrameError."""
        started_s = time.monotonic()
        size = (self._height, self._width, self.limits)
        frame = decode_frame(incoming, *size) if isinstance(incoming, bytes) else fit_frame(incoming, *size)
        return ReadyFrame(frame, time.monotonic() - started_s)

    def black_frame(self) -> ReadyFrame:
        """A frame that every model answers, whatever it says."""
        pixels_HWC = np.zeros((self._height, self._width, 3), np.uint8)
        return ReadyFrame(DecodedFrame(pixels_HWC, self._width, self._height), decode_s=0.0)

    def infer(self, ready: ReadyFrame) -> Detection:
        """The second half of `detect`: what the frame shows."""
        started_s = time.monotonic()
        outputs = self.session.run(ready.frame.frame_HWC[np.newaxis])
        return self._detections([ready], outputs, time.monotonic() - started_s)[0]

    def batches(self, plan: ExecutionPlan) -> Callable[[Sequence[ReadyFrame]], list[Detection]]:
        """A function that infers up to the plan's largest batch at once; only one thread may call it."""
        run = self.session.bind(plan.batch_sizes)

        def infer(batch: Sequence[ReadyFrame]) -> list[Detection]:
            started_s = time.monotonic()
            outputs = run([ready.frame.frame_HWC for ready in batch])
            return self._detections(batch, outputs, time.monotonic() - started_s)

        return infer

    def _detections(self, batch: Sequence[ReadyFrame], outputs: Outputs, inference_s: float) -> list[Detection]:
        return [
            self._detection(ready, probabilities_L, evidence_Lhw, inference_s)
            for ready, probabilities_L, evidence_Lhw in zip(
                batch, outputs.probabilities_BL.tolist(), outputs.evidence_BLhw, strict=True
            )
        ]

    def _detection(
        self,
        ready: ReadyFrame,
        probabilities_L: Sequence[float],
        evidence_Lhw: NDArray[np.float32],
        inference_s: float,
    ) -> Detection:
        rounded_L = [round(probability, DECIMALS) for probability in probabilities_L]
        probabilities = dict(zip(self.thresholds, rounded_L, strict=True))
        return Detection(
            width=ready.frame.source_width,
            height=ready.frame.source_height,
            probabilities=probabilities,
            labels=tuple(key for key, threshold in self.thresholds.items() if probabilities[key] >= threshold),
            evidence_Lhw=evidence_Lhw,
            decode_s=ready.decode_s,
            inference_s=inference_s,
        )


def load_detector(
    model: Path,
    device: Device,
    threads: int,
    limits: FrameLimits,
    variant: Variant = "auto",
    cuda_graphs: bool = False,
) -> Detector:
    """A detector whose model is loaded, reproduces its self-test and is warm. Raises StartupError."""
    running = open_model(model, device, variant, threads, cuda_graphs)
    running.session.warm_up()
    artifact = running.artifact
    return Detector(artifact.metadata, running.session, limits, running.reason, artifact.fingerprint)
