"""A model file as the service runs it, asked about frames of the table.

# N = frames, B = frames in a batch, L = labels
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_training.errors import InvalidConfiguration
from model_training.evaluation import session_outputs
from model_training.label_table import LabelTable
from model_training.tracking import Tracking, untracked
from service.inference.artifact import Artifact, ModelMetadata
from service.inference.session import ModelSession, Outputs


@dataclass(frozen=True, eq=False, slots=True)
class ServedModel:
    """A model file and a session that runs it."""

    artifact: Artifact
    session: ModelSession

    @classmethod
    def about(cls, artifact: Artifact, table: LabelTable, threads: int) -> "ServedModel":
        """The file, running; raises InvalidConfiguration where it answers other labels than the data is about."""
        check_labels(artifact, table)
        return cls(artifact, ModelSession(artifact, intra_op_threads=threads))

    @property
    def metadata(self) -> ModelMetadata:
        return self.artifact.metadata

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames that it takes."""
        return self.metadata.input.height, self.metadata.input.width

    @property
    def thresholds(self) -> dict[str, float]:
        """From which probability on a label counts as present."""
        return {label.key: label.threshold for label in self.metadata.labels}

    def outputs(
        self, images: Sequence[Path], description: str = "", tracking: Tracking = untracked
    ) -> Iterable[Outputs]:
        """Its answers for image files, batch by batch."""
        return session_outputs(self.session, images, self.size, description, tracking)

    def probabilities(
        self, images: Sequence[Path], description: str = "", tracking: Tracking = untracked
    ) -> NDArray[np.float32]:
        """Calibrated probabilities [N, L] for image files, of which there may be none."""
        nothing_BL = np.empty((0, len(self.metadata.labels)), np.float32)
        found = [outputs.probabilities_BL for outputs in self.outputs(images, description, tracking)]
        return np.concatenate([nothing_BL, *found])


def check_labels(artifact: Artifact, table: LabelTable) -> None:
    """Raise InvalidConfiguration where a file answers other labels than the data is about."""
    answers = artifact.metadata.label_keys
    if answers != table.labels:
        raise InvalidConfiguration(f"{artifact.path} answers {answers}, the data is about {table.labels}")
