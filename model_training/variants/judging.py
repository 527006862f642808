"""The exported float32 file -> its int8 and float16 variants, each held to it before it is kept.

What a variant learns, the ranges of its activations, it learns from train rows; how they are learned is chosen on
validation rows. Test rows judge the variant that came out and choose nothing.

# N = frames, L = labels
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from model_training.dataset import EvaluationFrames
from model_training.evaluation import session_probabilities
from model_training.held_out import HeldOut
from model_training.label_table import LabelTable
from model_training.onnx_export import write
from model_training.parity import SetParity, map_parity
from model_training.thresholds import reached
from model_training.tracking import Tracking, untracked
from model_training.variants.half_precision import halved
from model_training.variants.quantization import RANGE_METHODS, RangeMethod, quantized
from service.inference.artifact import Artifact, Figure, Precision, SelfTestVector, ThresholdRule, variant_path
from service.inference.session import ModelSession

VariantPrecision = Literal["int8", "float16"]
VARIANTS: Final[tuple[VariantPrecision, ...]] = ("int8", "float16")
VALIDATION: Final = "validation"
CALIBRATION: Final = "calibration"

LEARNING_FRAMES: Final = 300
"""Train frames that show the quantiser which values activations take."""

# What kernels of different processors may differ by. Of int8, one machine's fused and plain kernels differ by up to
# 0.004 on such frames, and by 0.02 on photographs: where a sum lies between two steps, its last bits choose the step.
# Of float16 the order of the sums counts. A wrong weight, or kernels that saturate, are off by far more.
SELF_TEST_TOLERANCE: Final = 0.02


@dataclass(frozen=True, slots=True)
class RuleReached:
    """A label's F1, precision or recall at the threshold that its rule chose on float32's answers, of both files."""

    label: str
    rule: ThresholdRule
    float32: float
    variant: float


@dataclass(frozen=True, slots=True)
class Variant:
    """A variant's file, not yet in its place, and its mean average precision beside float32's.

    `distances` says how far probabilities of an int8 file were from float32's, on average over validation rows, by each
    way to learn ranges; `figures` are its own on test rows, where it holds. It has float32's thresholds, and `reached`
    is what it makes of them, on the rows that these were chosen on.
    """

    precision: VariantPrecision
    path: Path
    parity: tuple[SetParity, ...]
    size_bytes: int
    distances: Mapping[RangeMethod, float] = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()
    reached: tuple[RuleReached, ...] = ()

    @property
    def method(self) -> RangeMethod | None:
        """How an int8 file's ranges were learned: in the way that came nearest to float32."""
        return min(self.distances, key=self.distances.__getitem__, default=None)

    @property
    def holds(self) -> bool:
        """Whether it may take float32's place, wherever it was measured; without rows to judge it, it may not."""
        return bool(self.parity) and all(measured.holds for measured in self.parity)


class VariantMaker:
    """Makes and judges the variants of the file at `float32`, whose answers it keeps for that.

    `destination` is where the float32 file is going to lie; ranges are learned from the rows of `train`, chosen by
    those of `validation`, thresholds were chosen by those of `calibration`, and `tests` are the sets of test rows.
    """

    def __init__(
        self,
        float32: Path,
        destination: Path,
        train: LabelTable,
        validation: LabelTable,
        calibration: tuple[Sequence[Path], HeldOut],
        tests: Mapping[str, LabelTable],
        tracking: Tracking = untracked,
    ) -> None:
        self._tracking = tracking
        self._float32, self._destination, self._train = Artifact.read(float32), destination, train
        self._size = (self._float32.metadata.input.height, self._float32.metadata.input.width)
        self._sets = {VALIDATION: validation, **tests}
        self._calibration_images, self._held_out = calibration
        self._expected = self._answers(self._float32)
        self._reached = self._reached_by(self._float32)

    def made(self, precision: VariantPrecision) -> Variant:
        """The variant with self-test vectors of its own, in a file whose name ends in .unproven.onnx."""
        path = unproven_path(variant_path(self._destination, precision))
        model = onnx.load_from_string(self._float32.content)
        if precision == "float16":
            self._write(halved(model), precision, path)
            return self._judged(precision, path)
        distances, int8 = self._best_quantized(model, path)
        self._write(int8, precision, path)
        return self._judged(precision, path, distances)

    def _best_quantized(self, model: onnx.ModelProto, path: Path) -> tuple[dict[RangeMethod, float], onnx.ModelProto]:
        """How far each way to learn ranges leaves the answers on validation rows from float32's, and the nearest's."""
        distances: dict[RangeMethod, float] = {}
        candidates: dict[RangeMethod, onnx.ModelProto] = {}
        for method in RANGE_METHODS:
            candidates[method] = quantized(model, self._learning_frames(method), method)
            write(candidates[method], self._float32.metadata.model_copy(update={"precision": "int8"}), path)
            seen_NL = self._probabilities(Artifact.read(path), VALIDATION)
            distances[method] = float(np.abs(seen_NL - self._expected[VALIDATION]).mean())
        return distances, candidates[min(distances, key=distances.__getitem__)]

    def _write(self, model: onnx.ModelProto, precision: Precision, path: Path) -> None:
        metadata = self._float32.metadata.model_copy(update={"precision": precision, "figures": ()})
        write(model, metadata, path)
        session = ModelSession(Artifact.read(path), device="cpu")
        vectors = tuple(_answered(vector, session, self._size) for vector in metadata.self_test)
        write(model, metadata.model_copy(update={"self_test": vectors}), path)

    def _judged(
        self, precision: VariantPrecision, path: Path, distances: Mapping[RangeMethod, float] | None = None
    ) -> Variant:
        artifact = Artifact.read(path)
        parity = map_parity(self._sets, self._expected, self._answers(artifact))
        own = self._reached_by(artifact)
        both = tuple(
            RuleReached(label.key, label.rule, self._reached[label.key], own[label.key])
            for label in artifact.metadata.labels
            if label.key in own
        )
        return Variant(precision, path, parity, path.stat().st_size, distances or {}, reached=both)

    def _reached_by(self, artifact: Artifact) -> dict[str, float]:
        """What its rules look at, at its thresholds, on the rows that these were chosen on."""
        probabilities_NL = self._asked(artifact, self._calibration_images, CALIBRATION)
        labels = artifact.metadata.labels
        rules, chosen = {one.key: one.rule for one in labels}, {one.key: one.threshold for one in labels}
        return reached(self._held_out, probabilities_NL, rules, chosen)

    def _answers(self, artifact: Artifact) -> dict[str, NDArray[np.float32]]:
        return {name: self._probabilities(artifact, name) for name in self._sets}

    def _probabilities(self, artifact: Artifact, name: str) -> NDArray[np.float32]:
        return self._asked(artifact, self._sets[name].images, name)

    def _asked(self, artifact: Artifact, images: Sequence[Path], name: str) -> NDArray[np.float32]:
        session = ModelSession(artifact, device="cpu", intra_op_threads=torch.get_num_threads())
        description = f"{artifact.metadata.precision}: {name}"
        return session_probabilities(session, images, self._size, description, self._tracking)

    def _learning_frames(self, method: RangeMethod) -> Iterator[NDArray[np.uint8]]:
        """Train frames as the service decodes them."""
        frames = EvaluationFrames(tuple(self._train.images), *self._size)
        rows = spread_over_sources(self._train.sources, LEARNING_FRAMES)
        return (frames[row] for row in self._tracking(rows, f"int8: ranges by {method}", len(rows)))


def unproven_path(path: Path) -> Path:
    """Where a file lies until it has passed.

    >>> unproven_path(Path("street.int8.onnx")).name
    'street.int8.unproven.onnx'
    """
    return path.with_suffix(f".unproven{path.suffix}")


def spread_over_sources(sources: Sequence[str], most: int, seed: int = 0) -> list[int]:
    """At most `most` row numbers, drawn in turn from each source, so that a small one counts as much as a large one."""
    shuffled = np.random.default_rng(seed).permutation(len(sources)).tolist()
    drawn: dict[str, int] = {}
    places = []
    for row in shuffled:
        places.append((drawn.setdefault(sources[row], 0), row))
        drawn[sources[row]] += 1
    # Stable: within a turn the order stays as shuffled.
    return [row for _, row in sorted(places, key=lambda place: place[0])][:most]


def _answered(vector: SelfTestVector, session: ModelSession, size: tuple[int, int]) -> SelfTestVector:
    """The same input with what this session answers."""
    small_HWC = vector.frame(vector.height, vector.width)
    seen_L = session.run(vector.frame(*size)[np.newaxis]).probabilities_BL[0]
    return SelfTestVector.of(small_HWC, seen_L, SELF_TEST_TOLERANCE)
