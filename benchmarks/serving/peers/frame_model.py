"""What every server runs: our decoder, our resize and our session on one thread, as the in-process loop does."""

from pathlib import Path
from typing import Self

import numpy as np

from benchmarks.serving.peers.launch import Launch
from service.inference.artifact import Artifact
from service.inference.decoding import FrameLimits, decode_frame
from service.inference.session import ModelSession

WARM_UP_RUNS = 3


class FrameModel:
    """Encoded frame -> probability of every label; warm from the start."""

    def __init__(self, model: Path) -> None:
        artifact = Artifact.read(model)
        self._size, self._labels = artifact.metadata.input, artifact.metadata.label_keys
        self._limits = FrameLimits()
        self._session = ModelSession(artifact, "cpu", 1)
        for _ in range(WARM_UP_RUNS):
            self._session.run(np.zeros((1, self._size.height, self._size.width, 3), np.uint8))

    @classmethod
    def launched(cls) -> Self:
        """The model that this process was started for."""
        return cls(Launch.from_environment().model)

    def answer(self, data: bytes) -> dict[str, float]:
        """What the frame shows."""
        frame = decode_frame(data, self._size.height, self._size.width, self._limits)
        probabilities_L = self._session.run(frame.frame_HWC[np.newaxis]).probabilities_BL[0]
        return dict(zip(self._labels, probabilities_L.tolist(), strict=True))
