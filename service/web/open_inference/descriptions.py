"""What server and model say of themselves, as the protocol and Triton's model configuration extension want it.

# N = frames in a request, L = labels, H/W = height/width in pixels, h/w = height/width of the evidence grid
"""

from typing import Any

from pydantic import Field

from service import __version__
from service.inference.artifact import EVIDENCE, PROBABILITIES, ModelMetadata
from service.web.open_inference.inputs import CHANNELS, ENCODED, PIXELS
from service.web.schemas import Document

EXTENSIONS = ("binary_tensor_data", "classification", "model_configuration", "parameters")
PLATFORM, BACKEND = "onnxruntime_onnx", "onnxruntime"

Parameters = dict[str, str | float | bool]


class ServerDescription(Document):
    """Which server this is, and what it can beyond the protocol."""

    name: str = "roadcue"
    version: str = __version__
    extensions: tuple[str, ...] = EXTENSIONS


class ServerLive(Document):
    """The process answers."""

    live: bool = True


class ServerReady(Document):
    """The service wants traffic."""

    ready: bool = True


class ModelReady(Document):
    """The model is loaded, and the service wants traffic."""

    name: str
    ready: bool = True


class TensorDescription(Document):
    """A tensor that comes or goes; -1 is a size that may vary."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: Parameters | None = None


class ModelDescription(Document):
    """The model's tensors. A request has one of the two inputs."""

    name: str
    versions: tuple[str, ...]
    platform: str = PLATFORM
    inputs: tuple[TensorDescription, ...]
    outputs: tuple[TensorDescription, ...]
    parameters: Parameters = Field(
        description="`labels` in the order of the outputs' second axis, separated by commas; `threshold.` of each"
    )


class InferenceError(Document):
    """Why a request has no answer."""

    error: str


def model_description(model: ModelMetadata) -> ModelDescription:
    """The model's tensors and labels."""
    size, labels = model.input, len(model.labels)
    encoded = TensorDescription(
        name=ENCODED, datatype="BYTES", shape=(-1,), parameters={"content": "JPEG, PNG or WebP; base64 in JSON"}
    )
    pixels = TensorDescription(
        name=PIXELS,
        datatype="UINT8",
        shape=(-1, size.height, size.width, CHANNELS),
        parameters={"content": "RGB; frames of another size are resized", "resize": size.resize},
    )
    return ModelDescription(
        name=model.name,
        versions=(model.version,),
        inputs=(encoded, pixels),
        outputs=(
            TensorDescription(name=PROBABILITIES, datatype="FP32", shape=(-1, labels)),
            TensorDescription(name=EVIDENCE, datatype="FP32", shape=(-1, labels, *model.evidence_grid)),
        ),
        parameters={
            "labels": ",".join(model.label_keys),
            **{f"threshold.{label.key}": label.threshold for label in model.labels},
        },
    )


def model_configuration(model: ModelMetadata, max_frames: int) -> dict[str, Any]:
    """The model as Triton's configuration names it: without the axis of the batch, each input optional."""
    size, labels = model.input, len(model.labels)
    inputs = ((ENCODED, "TYPE_STRING", [1]), (PIXELS, "TYPE_UINT8", [size.height, size.width, CHANNELS]))
    outputs = ((PROBABILITIES, [labels]), (EVIDENCE, [labels, *model.evidence_grid]))
    return {
        "name": model.name,
        "platform": PLATFORM,
        "backend": BACKEND,
        "max_batch_size": max_frames,
        "input": [{"name": name, "data_type": kind, "dims": dims, "optional": True} for name, kind, dims in inputs],
        "output": [{"name": name, "data_type": "TYPE_FP32", "dims": dims} for name, dims in outputs],
        "parameters": {"labels": {"string_value": ",".join(model.label_keys)}},
    }
