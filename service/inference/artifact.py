"""The one file that passes from training to service: an ONNX model that describes itself.

- input `frames`: uint8 [B, H, W, 3], RGB, resized by the rule that the metadata names
- output `probabilities`: float32 [B, L], calibrated, in [0, 1]
- output `evidence`: float32 [B, L, h, w] in [0, 1], where each label's evidence lies, on the network's own grid
- `metadata_props["roadcue"]`: a `ModelMetadata` as JSON

# B = frames in a batch, L = labels, H/W = height/width in pixels, h/w = height/width of the evidence grid
"""

import base64
import hashlib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PositiveInt, ValidationError, model_validator

from service.errors import ModelFileError

SCHEMA_VERSION: Final = 2
READABLE_SCHEMAS: Final = (1, 2)
"""Schema 2 added the rule of a threshold; in schema 1 it was always the best F1."""
METADATA_KEY: Final = "roadcue"
LABEL_KEY: Final = r"[a-z][a-z0-9]*(_[a-z0-9]+)*"
"""The pattern of a label's key: words of lower-case letters and digits, joined by single underscores."""
_EXTERNAL: Final = re.compile("external data|external tensor|data of tensorproto", re.IGNORECASE)
"""How ONNX Runtime and ONNX speak of weights in another file."""
INPUT, PROBABILITIES, EVIDENCE = "frames", "probabilities", "evidence"

Precision = Literal["float32", "int8", "float16"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class ThresholdRule(_Record):
    """How a threshold was chosen on the rows held out for it.

    `f1`: the best F1; `precision`: the lowest threshold whose precision is `at_least`; `recall`: the highest threshold
    whose recall is `at_least`.
    """

    metric: Literal["f1", "precision", "recall"] = "f1"
    at_least: float | None = Field(None, gt=0, le=1)

    @model_validator(mode="after")
    def _check_aim(self) -> Self:
        if (self.metric == "f1") != (self.at_least is None):
            raise ValueError(
                f"at_least is {self.at_least} for {self.metric}: precision and recall need it, f1 has none"
            )
        return self


class Label(_Record):
    """One question the network answers, and the probability from which the answer is yes."""

    key: str = Field(pattern=f"^{LABEL_KEY}$")
    title: str
    threshold: float = Field(ge=0, le=1)
    rule: ThresholdRule = ThresholdRule()


class InputSpec(_Record):
    """The frame size the network takes, in pixels, and how a frame is brought to it."""

    height: int = Field(gt=0)
    width: int = Field(gt=0)
    resize: Literal["stretch"] = "stretch"


class Calibration(_Record):
    """calibrated logit = logit / temperature + bias; already part of the graph."""

    temperature: FiniteFloat = Field(gt=0)
    bias: FiniteFloat


class TrainingData(_Record):
    """What the network learned from. `hash` is `LabelTable.content_hash` of the rows used."""

    hash: str
    frames: int
    licences: tuple[str, ...]


class Figure(_Record, allow_inf_nan=False):
    """One measured value: its 95 % interval, its test set, and how many entries are known and positive there.

    The interval comes from drawing `scenes` again; how many there are is not in files of before this was told.
    """

    test_set: str
    label: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    positives: int
    scenes: int | None = None


class SelfTestVector(_Record):
    """A small input and the probabilities that the exporter saw for it.

    `pixels` holds uint8 [height, width, 3] in base64; `frame` repeats each of its pixels up to the network's size.
    """

    height: int = Field(gt=0)
    width: int = Field(gt=0)
    pixels: str
    probabilities: tuple[FiniteFloat, ...]
    tolerance: FiniteFloat = Field(gt=0)

    @model_validator(mode="after")
    def _check_pixels(self) -> Self:
        try:
            pixels = base64.b64decode(self.pixels, validate=True)
        except ValueError as problem:
            raise ValueError(f"pixels are not base64: {problem}") from problem
        expected = math.prod((self.height, self.width, 3))
        if len(pixels) != expected:
            raise ValueError(
                f"pixels hold {len(pixels)} bytes; {self.height} x {self.width} x 3 = {expected} are needed"
            )
        return self

    @classmethod
    def of(
        cls, small_HWC: NDArray[np.uint8], probabilities_L: NDArray[np.float32], tolerance: float
    ) -> "SelfTestVector":
        return cls(
            height=small_HWC.shape[0],
            width=small_HWC.shape[1],
            pixels=base64.b64encode(small_HWC.tobytes()).decode(),
            probabilities=tuple(round(float(p), 6) for p in probabilities_L),
            tolerance=tolerance,
        )

    def frame(self, height: int, width: int) -> NDArray[np.uint8]:
        """The input at the network's size: uint8 [height, width, 3]."""
        small_HWC = np.frombuffer(base64.b64decode(self.pixels), np.uint8).reshape(self.height, self.width, 3)
        return enlarge(small_HWC, height, width)


def enlarge(small_HWC: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Repeat pixels up to [height, width, 3]: exact on every machine, unlike interpolation."""
    rows = np.arange(height) * small_HWC.shape[0] // height
    columns = np.arange(width) * small_HWC.shape[1] // width
    return np.ascontiguousarray(small_HWC[rows][:, columns])


class ModelMetadata(_Record):
    """Everything a consumer needs to use the file right, and to know where it comes from."""

    schema_version: Literal[1, 2] = SCHEMA_VERSION
    name: str
    version: str
    precision: Precision
    labels: tuple[Label, ...] = Field(min_length=1)
    input: InputSpec
    evidence_grid: tuple[PositiveInt, PositiveInt]
    calibration: dict[str, Calibration]
    training_data: TrainingData
    git_revision: str
    licence: str
    created: str
    figures: tuple[Figure, ...] = ()
    self_test: tuple[SelfTestVector, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        keys = self.label_keys
        if repeated := sorted({key for key in keys if keys.count(key) > 1}):
            raise ValueError(f"labels repeat {repeated}")
        if self.calibration.keys() != set(keys):
            raise ValueError(f"calibration is for {sorted(self.calibration)}; the labels are {sorted(keys)}")
        for number, vector in enumerate(self.self_test, start=1):
            if (found := len(vector.probabilities)) != len(keys):
                raise ValueError(f"self-test {number} has {found} probabilities for {len(keys)} labels")
        return self

    @property
    def label_keys(self) -> tuple[str, ...]:
        return tuple(label.key for label in self.labels)


def variant_path(model: Path, precision: Precision) -> Path:
    """Where a model's file of another precision lies: beside it.

    >>> variant_path(Path("models/street.onnx"), "int8").as_posix()
    'models/street.int8.onnx'
    """
    return model if precision == "float32" else model.with_suffix(f".{precision}{model.suffix}")


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model file whose metadata has been read and agrees with its graph."""

    path: Path
    content: bytes
    metadata: ModelMetadata

    @property
    def fingerprint(self) -> str:
        """The first 8 hex digits of the file's SHA-256: names and versions are given by people, and given twice."""
        return hashlib.sha256(self.content).hexdigest()[:8]

    @classmethod
    def read(cls, path: Path) -> "Artifact":
        """Read and check the file; raises ModelFileError with what is wrong and what to do."""
        try:
            content = path.read_bytes()
        except OSError as problem:
            raise ModelFileError(f"the model file {path} cannot be read: {problem.strerror}") from problem
        session = _open_unoptimised(path, content)
        metadata = _metadata(path, session.get_modelmeta().custom_metadata_map)
        _check_signature(path, session, metadata)
        return cls(path, content, metadata)


def refuse_external_data(options: onnxruntime.SessionOptions, path: Path) -> None:
    """Let no weights come from another file, which the fingerprint would not cover; `path` is the model's."""
    # A model that is loaded from bytes looks for them in this folder, or in the working directory without it; the
    # model is a file, in which nothing can lie.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path))


def _open_unoptimised(path: Path, content: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    refuse_external_data(options, path)
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as problem:  # ONNX Runtime's exception classes share no base but Exception
        hint = "; it has external data: export it as one file" if _EXTERNAL.search(str(problem)) else ""
        raise ModelFileError(
            f"{path} ({len(content)} bytes) is not an ONNX model that can be loaded{hint}: {problem}"
        ) from problem


def _metadata(path: Path, properties: dict[str, str]) -> ModelMetadata:
    if METADATA_KEY not in properties:
        raise ModelFileError(
            f"{path} has no '{METADATA_KEY}' metadata, so it was not written by `roadcue-train export`; export it again"
        )
    try:
        document = json.loads(properties[METADATA_KEY])
    except ValueError as problem:
        raise ModelFileError(f"{path}: the '{METADATA_KEY}' metadata is not JSON: {problem}") from problem
    return _validated(path, document)


def _validated(path: Path, document: Any) -> ModelMetadata:
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version not in READABLE_SCHEMAS:
        raise ModelFileError(
            f"{path} has metadata schema {version!r}; this version of roadcue reads schema "
            f"{' and '.join(map(str, READABLE_SCHEMAS))}. "
            "Use the roadcue version that exported it, or export it again"
        )
    try:
        return ModelMetadata.model_validate(document)
    except ValidationError as problem:
        mistakes = "; ".join(_mistake(error["loc"], error["msg"]) for error in problem.errors())
        raise ModelFileError(f"{path}: the metadata is not valid: {mistakes}") from problem


def _mistake(place: tuple[int | str, ...], message: str) -> str:
    message = message.removeprefix("Value error, ")
    return f"{'.'.join(map(str, place))}: {message}" if place else message


def _check_signature(path: Path, session: onnxruntime.InferenceSession, metadata: ModelMetadata) -> None:
    size, grid = metadata.input, metadata.evidence_grid
    labels = len(metadata.labels)
    expected = {
        INPUT: ("tensor(uint8)", ["B", size.height, size.width, 3]),
        PROBABILITIES: ("tensor(float)", ["B", labels]),
        EVIDENCE: ("tensor(float)", ["B", labels, *grid]),
    }
    tensors = (*session.get_inputs(), *session.get_outputs())
    found = {tensor.name: (tensor.type, _with_free_batch(tensor.shape)) for tensor in tensors}
    if found != expected:
        raise ModelFileError(f"{path}: the graph has {found} where its metadata says {expected} (B may have any name)")


def _with_free_batch(shape: list[int | str | None]) -> list[int | str | None]:
    """The shape with its first axis called B where it is free; a graph for one batch size only keeps its number."""
    return ["B", *shape[1:]] if shape and not isinstance(shape[0], int) else shape
