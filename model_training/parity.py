"""Proof that an exported file does what the network does, on the service's own session and decoder.

# N = frames, L = labels
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from model_training.dataset import EvaluationFrames
from model_training.errors import ParityError
from model_training.onnx_export import ServedNetwork
from service.inference.artifact import Artifact
from service.inference.session import ModelSession

LARGEST_DIFFERENCE = 1e-4
"""Between two float32 computations of one probability in different order."""


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the file is from the network, over all frames and labels."""

    frames: int
    probabilities: float
    evidence: float


def verify(served: ServedNetwork, path: Path, images: Sequence[Path]) -> Parity:
    """Compare file and network on real frames; raises ParityError past `LARGEST_DIFFERENCE`.

    Also raises ModelFileError or SelfTestFailed where the service would refuse the file, and ParityError for no frames.
    """
    if not images:
        raise ParityError("there are no frames to verify on")
    artifact = Artifact.read(path)
    session = ModelSession(artifact, device="cpu")
    session.check_self_test()
    size = artifact.metadata.input
    frames = EvaluationFrames(tuple(images), size.height, size.width)
    differences = np.asarray([_difference(served, session, frames[row]) for row in range(len(frames))])
    largest = differences.max(axis=0)
    # So written that NaN fails too.
    if not largest[0] < LARGEST_DIFFERENCE:
        worst = images[int(differences[:, 0].argmax())]
        raise ParityError(
            f"{path}: probabilities differ from the network's by {largest[0]:.2g} on {worst}; "
            f"allowed is {LARGEST_DIFFERENCE:.0e}. Export it again from the checkpoint it was made of"
        )
    return Parity(len(images), float(largest[0]), float(largest[1]))


def _difference(served: ServedNetwork, session: ModelSession, frame_HWC: np.ndarray) -> tuple[float, float]:
    batch_BHWC = frame_HWC[np.newaxis]
    with torch.inference_mode():
        probabilities_BL, evidence_BLhw = served(torch.from_numpy(batch_BHWC))
    seen = session.run(batch_BHWC)
    return (
        float(np.abs(seen.probabilities_BL - probabilities_BL.numpy()).max()),
        float(np.abs(seen.evidence_BLhw - evidence_BLhw.numpy()).max()),
    )
