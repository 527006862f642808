"""Proof that an exported file does what the network does, and a variant what the float32 file does.

Both on the service's own session and decoder.

# N = frames, L = labels
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from model_training.dataset import EvaluationFrames
from model_training.errors import ParityError
from model_training.label_table import LabelTable
from model_training.metrics import Floats, decidable, mean_average_precision
from model_training.onnx_export import ServedNetwork
from model_training.tracking import Tracking, untracked
from service.inference.artifact import Artifact
from service.inference.session import ModelSession

LARGEST_DIFFERENCE = 1e-4
"""Between two float32 computations of one probability in different order."""
LEAST_CORRELATION = 0.98
"""Of a variant's evidence with its network's: the embedded int8 has 0.9998, models of other runs have 0.94 and less."""
LARGEST_MAP_DIFFERENCE = 0.005
"""Between a variant and the float32 file, on any set of rows: less than frames drawn anew would change it."""

Answer = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the file is from the network, over all frames and labels."""

    frames: int
    probabilities: float
    evidence: float


def verify(served: ServedNetwork, path: Path, images: Sequence[Path], tracking: Tracking = untracked) -> Parity:
    """Compare file and network on real frames; raises ParityError where they differ by `LARGEST_DIFFERENCE`.

    Also raises ModelFileError or SelfTestFailed where the service would refuse the file, and ParityError for no frames.
    """
    if not images:
        raise ParityError("there are no frames to verify on")
    artifact = Artifact.read(path)
    if (precision := artifact.metadata.precision) != "float32":
        raise ParityError(
            f"{path} is {precision}; only a float32 file is held to its network, and a variant to the float32 file: "
            "roadcue-train export did that"
        )
    session = ModelSession(artifact, device="cpu")
    session.check_self_test()
    size = artifact.metadata.input
    frames = EvaluationFrames(tuple(images), size.height, size.width)
    rows = tracking(range(len(frames)), "comparing file and network", len(frames))
    differences = np.asarray([[gap.max() for gap in _gaps(*_answers(served, session, frames[row]))] for row in rows])
    largest = differences.max(axis=0)
    for column, what in enumerate(("probabilities differ", "evidence differs")):
        # So written that NaN fails too.
        if not largest[column] < LARGEST_DIFFERENCE:
            worst = images[int(differences[:, column].argmax())]
            raise ParityError(
                f"{path}: {what} from the network's by {largest[column]:.2g} on {worst}; "
                f"allowed is {LARGEST_DIFFERENCE:.0e}. Export it again from the checkpoint it was made of"
            )
    return Parity(len(images), float(largest[0]), float(largest[1]))


def answers_alike(served: ServedNetwork, artifact: Artifact, images: Sequence[Path]) -> bool:
    """Whether a file of any precision answers real frames like the network that it would be made of.

    A float32 file as exactly as `verify` asks for; of a variant, whose answers are rounded, evidence has to lie alike.
    """
    session = ModelSession(artifact, device="cpu")
    frames = EvaluationFrames(tuple(images), artifact.metadata.input.height, artifact.metadata.input.width)
    answers = [_answers(served, session, frames[row]) for row in range(len(frames))]
    if artifact.metadata.precision == "float32":
        return all(gap.max() < LARGEST_DIFFERENCE for one in answers for gap in _gaps(*one))
    seen, expected = (np.concatenate([one[side][1].ravel() for one in answers]) for side in (0, 1))
    return bool(np.corrcoef(seen, expected)[0, 1] > LEAST_CORRELATION)


@dataclass(frozen=True, slots=True)
class SetParity:
    """Mean average precision of the float32 file and of a variant on one set of rows."""

    name: str
    float32: float
    variant: float

    @property
    def difference(self) -> float:
        return self.variant - self.float32

    @property
    def holds(self) -> bool:
        # So written that NaN fails too.
        return abs(self.difference) <= LARGEST_MAP_DIFFERENCE


def map_parity(
    sets: Mapping[str, LabelTable], float32: Mapping[str, Floats], variant: Mapping[str, Floats]
) -> tuple[SetParity, ...]:
    """Both files' mean average precision on every set, over the labels that have both kinds of known entries there.

    A set without such a label is left out: it cannot tell two files apart.
    """
    labels_of_sets = {name: decidable(table.entries_NL) for name, table in sets.items()}
    return tuple(
        SetParity(name, _map(sets[name], float32[name], labels), _map(sets[name], variant[name], labels))
        for name, labels in labels_of_sets.items()
        if labels
    )


def _map(table: LabelTable, probabilities_NL: Floats, labels: list[int]) -> float:
    return mean_average_precision(table.entries_NL[:, labels], probabilities_NL[:, labels])


def _answers(served: ServedNetwork, session: ModelSession, frame_HWC: np.ndarray) -> tuple[Answer, Answer]:
    """The file's and the network's probabilities and evidence."""
    batch_BHWC = frame_HWC[np.newaxis]
    with torch.inference_mode():
        probabilities_BL, evidence_BLhw = served(torch.from_numpy(batch_BHWC))
    seen = session.run(batch_BHWC)
    return (seen.probabilities_BL, seen.evidence_BLhw), (probabilities_BL.numpy(), evidence_BLhw.numpy())


def _gaps(seen: Answer, expected: Answer) -> Answer:
    return np.abs(seen[0] - expected[0]), np.abs(seen[1] - expected[1])
