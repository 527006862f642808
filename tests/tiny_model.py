"""A valid model file whose answers are computable by hand, built with nothing but the onnx package."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from service.inference.artifact import (
    EVIDENCE,
    INPUT,
    METADATA_KEY,
    PROBABILITIES,
    Calibration,
    InputSpec,
    Label,
    ModelMetadata,
    SelfTestVector,
    TrainingData,
)

HEIGHT, WIDTH, GRID = 8, 12, (2, 3)


def tiny_metadata(labels: Sequence[str] = ("red", "green"), threshold: float = 0.5) -> ModelMetadata:
    """Metadata of a model that answers with the mean of colour channel j over the frame, in 0..1, for label j."""
    ramp_HWC = np.arange(2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 3) * 20
    means_L = ramp_HWC.reshape(-1, 3).mean(0)[: len(labels)] / 255
    return ModelMetadata(
        name="tiny",
        version="0.0.1",
        precision="float32",
        labels=tuple(Label(key=key, title=key.replace("_", " "), threshold=threshold) for key in labels),
        input=InputSpec(height=HEIGHT, width=WIDTH),
        evidence_grid=GRID,
        calibration={key: Calibration(temperature=1.0, bias=0.0) for key in labels},
        training_data=TrainingData(hash="none", frames=0, licences=("CC0-1.0",)),
        git_revision="none",
        licence="Apache-2.0",
        created="2026-01-01T00:00:00Z",
        self_test=(SelfTestVector.of(ramp_HWC, means_L.astype(np.float32), tolerance=1e-4),),
    )


def write_tiny_model(
    path: Path,
    labels: Sequence[str] = ("red", "green"),
    threshold: float = 0.5,
    metadata_json: str | None = None,
) -> Path:
    """Write the model (at most three labels) to `path`; `metadata_json` replaces its metadata, to plant mistakes."""
    channels = numpy_helper.from_array(np.arange(len(labels), dtype=np.int64), "channels")
    scale = numpy_helper.from_array(np.asarray(1 / 255, np.float32), "scale")
    cell = [HEIGHT // GRID[0], WIDTH // GRID[1]]
    nodes = [
        helper.make_node("Cast", [INPUT], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["pixels", "scale"], ["unit"]),
        helper.make_node("Transpose", ["unit"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Gather", ["planes", "channels"], ["colours"], axis=1),
        helper.make_node("AveragePool", ["colours"], [EVIDENCE], kernel_shape=cell, strides=cell),
        helper.make_node("ReduceMean", [EVIDENCE, "axes"], [PROBABILITIES], keepdims=0),
    ]
    axes = numpy_helper.from_array(np.asarray([2, 3], np.int64), "axes")
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["B", HEIGHT, WIDTH, 3])],
        [
            helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ["B", len(labels)]),
            helper.make_tensor_value_info(EVIDENCE, TensorProto.FLOAT, ["B", len(labels), *GRID]),
        ],
        [channels, scale, axes],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(model, {METADATA_KEY: metadata_json or tiny_metadata(labels, threshold).model_dump_json()})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
