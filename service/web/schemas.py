"""The public JSON contract: what the service answers, with real examples.

# L = labels, h/w = height/width of the evidence grid
"""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from service.inference.artifact import Calibration, Figure, InputSpec, Label, ModelMetadata, TrainingData
from service.inference.detector import Detection, Detector
from service.inference.tuning import Execution
from service.web.lifecycle import Lifecycle, Stage

EVIDENCE_DECIMALS = 3
# Which file answered: another one may have its name and version.
FINGERPRINT = b"x-model-fingerprint"
_COMPACT = json.JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"))

Probability = Annotated[float, Field(ge=0, le=1)]


class Document(BaseModel):
    """A JSON object with exactly the members it names."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Problem(BaseModel):
    """RFC 9457. `code` is stable; members beyond the named ones repeat what came and what is allowed."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "/problems/damaged_image",
                    "title": "Damaged image",
                    "status": 422,
                    "code": "damaged_image",
                    "detail": "the JPEG image cannot be decoded: image file is truncated (12 bytes not processed)",
                    "instance": "/predict",
                }
            ]
        },
    )

    type: str = Field(description="Where the kind of problem is explained")
    title: str = Field(description="The kind of problem in words")
    status: int = Field(ge=400, le=599, description="The HTTP status this problem has, or would have on its own")
    code: str = Field(description="The kind of problem, for programs")
    detail: str = Field(description="What came, what is allowed and what to do")
    instance: str | None = Field(None, description="The path of the request")


class ModelName(Document):
    """Which model answered."""

    name: str
    version: str


class Evidence(Document):
    """Where in the frame each label's evidence lies, in 0..1, on the network's own grid."""

    grid: tuple[int, int] = Field(description="Rows and columns of each map")
    maps: dict[str, list[list[float]]] = Field(description="For each label its rows from top to bottom")


class FrameAnswer(Document):
    """What one frame shows."""

    name: str = Field(description="File name as sent, without folders; `frame` where none was sent")
    width: int = Field(gt=0, description="Pixels, as seen upright")
    height: int = Field(gt=0, description="Pixels, as seen upright")
    probabilities: dict[str, Probability] = Field(description="Calibrated probability of each label")
    labels: list[str] = Field(description="The labels whose probability is at or above their threshold")
    evidence: Evidence | None = Field(None, description="Only with ?evidence=true")


class FrameProblem(Document):
    """Why one frame has no answer; the others of its request have theirs."""

    name: str
    problem: Problem


class TimingMs(Document):
    """Where the time of this request went, in milliseconds."""

    queue: float = Field(ge=0, description="The longest time that a frame waited for a worker")
    decode: float = Field(ge=0, description="Decoding and resizing, added up over the frames")
    inference: float = Field(ge=0, description="The network, added up over the frames")
    total: float = Field(ge=0, description="Wall time from the body's last byte to the reply; frames run in parallel")


class PredictReply(Document):
    """The answer to POST /predict, frames in the order they were sent."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": {"name": "street", "version": "1.0.0"},
                    "thresholds": {"pedestrian": 0.5, "car": 0.5, "stop_sign": 0.5, "traffic_light": 0.5},
                    "frames": [
                        {
                            "name": "a.jpg",
                            "width": 1280,
                            "height": 720,
                            "probabilities": {
                                "pedestrian": 0.93,
                                "car": 0.99,
                                "stop_sign": 0.02,
                                "traffic_light": 0.61,
                            },
                            "labels": ["pedestrian", "car", "traffic_light"],
                        },
                        {
                            "name": "broken.jpg",
                            "problem": {
                                "type": "/problems/damaged_image",
                                "title": "Damaged image",
                                "status": 422,
                                "code": "damaged_image",
                                "instance": "/predict",
                                "detail": "the JPEG image cannot be decoded: image file is truncated",
                            },
                        },
                    ],
                    "timing_ms": {"queue": 0.1, "decode": 1.8, "inference": 6.2, "total": 8.4},
                }
            ]
        }
    )

    model: ModelName
    thresholds: dict[str, Probability] = Field(description="The threshold each label was decided with")
    frames: list[FrameAnswer | FrameProblem]
    timing_ms: TimingMs


class Live(Document):
    """The process answers."""

    status: Literal["live"] = "live"


class Ready(Document):
    """The model is loaded, has reproduced its self-test, is warm, and the service is not draining."""

    status: Literal["ready"] = "ready"


class Queue(Document):
    """How busy the service is."""

    waiting_frames: int = Field(ge=0)
    running_frames: int = Field(ge=0)
    max_waiting_frames: int = Field(ge=1, description="At the most; --max-queue-ms may refuse a request before that")
    workers: int = Field(ge=1)


class Health(Document):
    """How the process is; for people. Machines ask /health/live and /health/ready."""

    status: Stage
    live: Literal[True] = True
    ready: bool
    uptime_seconds: float = Field(ge=0)
    model: ModelName | None = Field(description="Null until the model is loaded")
    provider: str | None = Field(description="ONNX Runtime's execution provider; null until the model is loaded")
    fallback_reason: str | None = Field(description="Why device=auto serves on the CPU; else null")
    queue: Queue | None = Field(description="Null until the model is loaded")


class ModelCard(Document):
    """The model in use: what it answers, how good it is, where it comes from and where it runs."""

    name: str
    version: str
    precision: str = Field(description="Of the file that runs: float32, int8 or float16")
    precision_reason: str = Field(description="Why it is this one of the model's files")
    fingerprint: str = Field(description="First 8 hex digits of the SHA-256 of the file that runs")
    labels: tuple[Label, ...]
    input: InputSpec
    evidence_grid: tuple[int, int]
    calibration: dict[str, Calibration]
    figures: tuple[Figure, ...]
    training_data: TrainingData
    git_revision: str
    licence: str
    created: str
    schema_version: int
    provider: str
    fallback_reason: str | None
    execution: Execution = Field(description="How it runs: the plan, why it is this one, and the figures of all plans")


def frame_answer(name: str, detection: Detection, with_evidence: bool) -> dict[str, Any]:
    """The members of a FrameAnswer."""
    answer = {
        "name": name,
        "width": detection.width,
        "height": detection.height,
        "probabilities": detection.probabilities,
        "labels": detection.labels,
    }
    if with_evidence:
        answer["evidence"] = evidence_of(detection.evidence_Lhw, list(detection.probabilities))
    return answer


def evidence_of(evidence_Lhw: NDArray[np.float32], labels: list[str]) -> dict[str, Any]:
    """The members of Evidence: one map per label, rounded to three decimals."""
    rounded = evidence_Lhw.astype(float).round(EVIDENCE_DECIMALS).tolist()
    return {"grid": evidence_Lhw.shape[1:], "maps": dict(zip(labels, rounded, strict=True))}


class JsonReply(Response):
    """200 and a JSON object, with no more ado."""

    def __init__(self, content: bytes, *more_headers: tuple[bytes, bytes]) -> None:
        self.body, self.status_code, self.background = content, 200, None
        headers = (b"content-length", b"%d" % len(content)), (b"content-type", b"application/json")
        self.raw_headers = [*headers, *more_headers]


def predict_reply(detector: Detector, frames: Sequence[Mapping[str, Any]], timing_ms: Mapping[str, float]) -> JsonReply:
    """A PredictReply; made of plain members, as to check the own answer costs more than to write it."""
    metadata = detector.metadata
    reply = {
        "model": {"name": metadata.name, "version": metadata.version},
        "thresholds": detector.thresholds,
        "frames": frames,
        "timing_ms": timing_ms,
    }
    return JsonReply(_COMPACT.encode(reply).encode(), (FINGERPRINT, detector.fingerprint.encode()))


def health_of(lifecycle: Lifecycle) -> Health:
    """The process as it is now."""
    stage, loaded = lifecycle.stage, lifecycle.loaded
    state = loaded.scheduler.state() if loaded else None
    return Health(
        status=stage,
        ready=stage == "ready",
        uptime_seconds=round(lifecycle.uptime_s, 3),
        model=model_name(loaded.detector.metadata) if loaded else None,
        provider=loaded.detector.session.provider if loaded else None,
        fallback_reason=loaded.detector.session.fallback_reason if loaded else None,
        queue=Queue.model_validate(state, from_attributes=True) if state else None,
    )


def model_name(metadata: ModelMetadata) -> ModelName:
    """Name and version of the model."""
    return ModelName(name=metadata.name, version=metadata.version)


def model_card(detector: Detector, execution: Execution) -> ModelCard:
    """Everything the file says of itself but its self-test, and where and how it runs."""
    told: dict[str, Any] = detector.metadata.model_dump(exclude={"self_test"})
    session = detector.session
    return ModelCard(
        **told,
        precision_reason=detector.precision_reason,
        fingerprint=detector.fingerprint,
        provider=session.provider,
        fallback_reason=session.fallback_reason,
        execution=execution,
    )
