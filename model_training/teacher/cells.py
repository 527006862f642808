"""What a YOLOX detector computes in every cell of a frame: its features, its objectness, its scores.

# C = channels, L = labels, H/W = frame height/width in pixels, h/w = cells of one level
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch.nn import functional

from model_training.errors import InvalidConfiguration
from model_training.teacher.detector import STRIDES, YoloxDetector

_COARSEST: Final = STRIDES[-1]

Cells = NDArray[np.float16]
"""[C, h, w] of one level: features, then objectness, then the score of each label; scores are within 0..1."""


class DetectorCells:
    """A YOLOX file run on frames of any shape, answered by what it computes at strides 8, 16 and 32.

    Features are what its last layers tell boxes and objectness from. Raises InvalidConfiguration for a file that is
    not of YOLOX's form. `digest` identifies the file and what is taken of it, `features` counts the channels before the
    scores.
    """

    def __init__(self, path: Path, classes: Mapping[str, int]) -> None:
        detector = YoloxDetector(path, classes)
        self.labels, self._columns = detector.labels, [5 + number for number in classes.values()]
        # As many pixels as the square that it was made for, in the frame's own shape.
        self._pixels = detector.side**2
        content = path.read_bytes()
        self.digest = hashlib.sha256(content + json.dumps(list(classes.items())).encode()).hexdigest()
        model = onnx.load_from_string(content)
        self._input = model.graph.input[0].name
        try:
            self.features = _cut_to_levels(model)
        except (LookupError, StopIteration, ValueError) as problem:
            raise InvalidConfiguration(f"{path} is no YOLOX file as its authors export it: {problem}") from problem
        self._model = model.SerializeToString()
        self._session: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """Each process runs a session of its own."""
        return {**vars(self), "_session": None}

    @property
    def scores(self) -> int:
        """Channels after the features: objectness, and one a label."""
        return 1 + len(self.labels)

    def levels(self, frame_HWC: NDArray[np.uint8], height: int, width: int) -> tuple[Cells, ...]:
        """The cells of an RGB frame, finest first, on the grids of a network that takes `height` x `width` pixels."""
        answers = self._ran(self._scaled(frame_HWC))
        half = len(answers) // 2
        return tuple(
            self._on_grid(raw_1Xhw[0], features_1Chw[0], (math.ceil(height / stride), math.ceil(width / stride)))
            for raw_1Xhw, features_1Chw, stride in zip(answers[:half], answers[half:], STRIDES, strict=True)
        )

    def _ran(self, frame_HWC: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        if self._session is None:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            self._session = onnxruntime.InferenceSession(self._model, options, providers=["CPUExecutionProvider"])
        bgr_1CHW = np.ascontiguousarray(frame_HWC[:, :, ::-1].transpose(2, 0, 1)[np.newaxis], np.float32)
        answers: list[NDArray[np.float32]] = self._session.run(None, {self._input: bgr_1CHW})
        return answers

    def _scaled(self, frame_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
        scale = math.sqrt(self._pixels / (frame_HWC.shape[0] * frame_HWC.shape[1]))
        height, width = (max(1, round(scale * side / _COARSEST)) * _COARSEST for side in frame_HWC.shape[:2])
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(frame_HWC, (width, height), interpolation=interpolation), np.uint8)

    def _on_grid(self, raw_Xhw: NDArray[np.float32], features_Chw: NDArray[np.float32], grid: tuple[int, int]) -> Cells:
        objectness_1hw = raw_Xhw[4:5]
        cells_Chw = np.concatenate([features_Chw, objectness_1hw, objectness_1hw * raw_Xhw[self._columns]])
        resized = functional.interpolate(torch.from_numpy(cells_Chw)[None], grid, mode="bilinear")
        return np.asarray(resized[0].numpy(), np.float16)


def _cut_to_levels(model: onnx.ModelProto) -> int:
    """Let `model` take frames of any shape and give, level by level, its raw answers, then the features before them.

    Returns the number of channels of the features. YOLOX ends in convolutions for box, objectness and classes, which
    are joined for each level, flattened, joined over levels and transposed.
    """
    graph = model.graph
    maker = {output: node for node in graph.node for output in node.output}
    joined = next(node for node in _chain(maker, graph.output[0].name) if node.op_type == "Concat")
    raw = [maker[flattened].input[0] for flattened in joined.input]
    boxes = [maker[maker[answer].input[0]] for answer in raw]
    if len(raw) != len(STRIDES) or {node.op_type for node in boxes} != {"Conv"}:
        raise ValueError(f"it joins {len(raw)} levels made by {', '.join(sorted({n.op_type for n in boxes}))}")
    outputs = [*raw, *(node.input[0] for node in boxes)]
    _keep_what_leads_to(graph, outputs)
    for dimension, name in zip(graph.input[0].type.tensor_type.shape.dim, ("batch", None, "H", "W"), strict=True):
        if name:
            dimension.dim_param = name
    return _input_channels(graph, boxes[0])


def _chain(maker: Mapping[str, onnx.NodeProto], name: str) -> Sequence[onnx.NodeProto]:
    """The node that makes `name`, the one that makes that one's first input, and so on."""
    nodes = []
    while name in maker:
        nodes.append(maker[name])
        name = maker[name].input[0]
    return nodes


def _keep_what_leads_to(graph: onnx.GraphProto, outputs: Sequence[str]) -> None:
    needed, nodes = set(outputs), []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            nodes.append(node)
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.output[:], graph.value_info[:], graph.initializer[:]
    graph.node.extend(reversed(nodes))
    graph.initializer.extend(weights)
    graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs)


def _input_channels(graph: onnx.GraphProto, convolution: onnx.NodeProto) -> int:
    weight = next(tensor for tensor in graph.initializer if tensor.name == convolution.input[1])
    return int(weight.dims[1])
