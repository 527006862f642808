"""A trained network with its calibration and thresholds -> the one self-describing file that the service reads.

# B = frames in a batch, L = labels, H/W = frame height/width in pixels, C = 3 (RGB), h/w = evidence grid
"""

import subprocess
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model_training.configuration import TrainingConfiguration
from model_training.label_table import LabelTable
from model_training.network import PresenceNetwork
from model_training.whole_files import written_whole
from service.inference.artifact import (
    EVIDENCE,
    INPUT,
    METADATA_KEY,
    PROBABILITIES,
    Calibration,
    Figure,
    InputSpec,
    Label,
    ModelMetadata,
    SelfTestVector,
    ThresholdRule,
    TrainingData,
    enlarge,
)

# The larger of what float32 loses between two processors' kernels; a wrong weight is off by far more.
SELF_TEST_TOLERANCE = 2e-3
_SELF_TESTS, _CANDIDATES = 4, 64


class ServedNetwork(nn.Module):
    """What the file computes: uint8 frames [B, H, W, 3] -> calibrated probabilities [B, L], evidence [B, L, h, w].

    Evidence is the local logits' sigmoid.
    """

    temperature_L: Tensor
    bias_L: Tensor

    def __init__(
        self, network: PresenceNetwork, labels: tuple[str, ...], calibration: Mapping[str, Calibration]
    ) -> None:
        super().__init__()
        self.network = network.eval()
        self.calibration = calibration
        self.register_buffer("temperature_L", torch.tensor([calibration[label].temperature for label in labels]))
        self.register_buffer("bias_L", torch.tensor([calibration[label].bias for label in labels]))

    def forward(self, frames_BHWC: Tensor) -> tuple[Tensor, Tensor]:
        output = self.network(frames_BHWC)
        calibrated_BL = output.logits_BL / self.temperature_L + self.bias_L
        return torch.sigmoid(calibrated_BL), torch.sigmoid(output.evidence_BLhw)


def export(served: ServedNetwork, metadata: ModelMetadata, path: Path) -> None:
    """Write the graph with a dynamic batch axis, and the metadata in it; a kill while writing leaves no file."""
    frames_BHWC = torch.zeros(2, metadata.input.height, metadata.input.width, 3, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own; what it wrote is proved by `parity`
        program = torch.onnx.export(
            served,
            (frames_BHWC,),
            input_names=[INPUT],
            output_names=[PROBABILITIES, EVIDENCE],
            dynamic_shapes={"frames_BHWC": {0: torch.export.Dim("B", min=1, max=4096)}},
            dynamo=True,
            verbose=False,
        )
    write(cast(torch.onnx.ONNXProgram, program).model_proto, metadata, path)


def write(model: onnx.ModelProto, metadata: ModelMetadata, path: Path) -> None:
    """Write `model` to `path` with `metadata` in place of whatever metadata it had."""
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {METADATA_KEY: metadata.model_dump_json()})
    model.producer_name = "roadcue-train"
    onnx.checker.check_model(model, full_check=True)
    with written_whole(path) as unfinished:
        onnx.save(model, unfinished)


def with_figures(path: Path, figures: tuple[Figure, ...], metadata: ModelMetadata) -> ModelMetadata:
    """Put `figures` into the file at `path`, whose metadata is `metadata`; returns the new metadata."""
    measured = metadata.model_copy(update={"figures": figures})
    write(onnx.load(path), measured, path)
    return measured


@dataclass(frozen=True, slots=True)
class Identity:
    """What the owner of a model calls it."""

    name: str
    version: str
    licence: str


def describe(
    served: ServedNetwork,
    configuration: TrainingConfiguration,
    learned: LabelTable,
    thresholds: Mapping[str, float],
    identity: Identity,
    rules: Mapping[str, ThresholdRule] | None = None,
) -> ModelMetadata:
    """The file's metadata, without figures; `learned` holds the rows that training, choice and calibration used.

    `thresholds` were chosen by `rules`, by the best F1 where nothing else is said.
    """
    chosen_by = rules or dict.fromkeys(configuration.labels, ThresholdRule())
    return ModelMetadata(
        name=identity.name,
        version=identity.version,
        precision="float32",
        labels=tuple(
            Label(key=key, title=key.replace("_", " "), threshold=thresholds[key], rule=chosen_by[key])
            for key in configuration.labels
        ),
        input=InputSpec(height=configuration.height, width=configuration.width),
        evidence_grid=_grid(served, configuration),
        calibration=dict(served.calibration),
        training_data=TrainingData(
            hash=learned.content_hash(), frames=len(learned), licences=tuple(sorted(set(learned.licences)))
        ),
        git_revision=_git_revision(),
        licence=identity.licence,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        self_test=self_test_vectors(served, configuration.height, configuration.width),
    )


def self_test_vectors(served: ServedNetwork, height: int, width: int) -> tuple[SelfTestVector, ...]:
    """Coarse random mosaics and what the network says of them: of many, those that move its answers most."""
    random = np.random.default_rng(0)
    coarse = [_mosaic(random) for _ in range(_CANDIDATES)]
    frames_BHWC = np.stack([enlarge(small_HWC, height, width) for small_HWC in coarse])
    with torch.inference_mode():
        answers = [served(torch.from_numpy(frames_BHWC[i : i + 1]))[0][0].numpy() for i in range(_CANDIDATES)]
    chosen = _most_varied(np.stack(answers))
    return tuple(SelfTestVector.of(coarse[i], answers[i], SELF_TEST_TOLERANCE) for i in chosen)


def _mosaic(random: np.random.Generator) -> NDArray[np.uint8]:
    """8 x 12 pixels of one colour with some contrast: a crude scene, not noise, so that the network answers."""
    base_C, contrast = random.uniform(40, 215, 3), random.uniform(5, 90)
    return np.clip(base_C + random.normal(0, contrast, (8, 12, 3)), 0, 255).astype(np.uint8)


def _most_varied(answers_BL: NDArray[np.float32]) -> list[int]:
    """The candidate with the largest answers, then repeatedly the one farthest from those taken."""
    chosen = [int(answers_BL.sum(axis=1).argmax())]
    while len(chosen) < _SELF_TESTS:
        distances = np.linalg.norm(answers_BL[:, None] - answers_BL[chosen][None], axis=-1).min(axis=1)
        chosen.append(int(distances.argmax()))
    return chosen


def _grid(served: ServedNetwork, configuration: TrainingConfiguration) -> tuple[int, int]:
    frame_BHWC = torch.zeros(1, configuration.height, configuration.width, 3, dtype=torch.uint8)
    with torch.inference_mode():
        height, width = served(frame_BHWC)[1].shape[-2:]
    return int(height), int(width)


def _git_revision() -> str:
    """The checked-out revision, with "-dirty" where files differ from it; "unknown" outside a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command
    return found.stdout.strip() or "unknown"
