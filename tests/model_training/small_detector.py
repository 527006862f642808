"""A file of YOLOX's form that looks at colours alone, so that what it computes in a cell can be worked out by hand."""

from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

CLASSES = {"red": 0, "green": 1}


def write_small_detector(path: Path, side: int = 64) -> Path:
    """Features are the cell's mean B, G and R; objectness is 0.5; class 0 is sigmoid((R - G) / 32), 1 its opposite."""
    weights = {
        "features_w": np.eye(3).reshape(3, 3, 1, 1),
        "box_w": np.zeros((4, 3, 1, 1)),
        "object_w": np.zeros((1, 3, 1, 1)),
        "class_w": np.array([[0, -1, 1], [0, 1, -1]]).reshape(2, 3, 1, 1) / 32,
    }
    nodes = [node for stride in (8, 16, 32) for node in _level(stride)]
    nodes += [
        helper.make_node("Concat", ["flat_8", "flat_16", "flat_32"], ["joined"], axis=2),
        helper.make_node("Transpose", ["joined"], ["output"], perm=[0, 2, 1]),
    ]
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    tensors += [
        numpy_helper.from_array(np.array([1, 7, (side // stride) ** 2]), f"shape_{stride}") for stride in (8, 16, 32)
    ]
    cells = sum((side // stride) ** 2 for stride in (8, 16, 32))
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, side, side])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, cells, 7])],
        tensors,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def _level(stride: int) -> list[NodeProto]:
    def named(*names: str) -> list[str]:
        return [f"{name}_{stride}" for name in names]

    pooled, features, box, thing, cls, whether, which, raw, flat = named(
        "pooled", "features", "box", "thing", "class", "whether", "which", "raw", "flat"
    )
    return [
        helper.make_node("AveragePool", ["images"], [pooled], kernel_shape=[stride] * 2, strides=[stride] * 2),
        helper.make_node("Conv", [pooled, "features_w"], [features]),
        helper.make_node("Conv", [features, "box_w"], [box]),
        helper.make_node("Conv", [features, "object_w"], [thing]),
        helper.make_node("Conv", [features, "class_w"], [cls]),
        helper.make_node("Sigmoid", [thing], [whether]),
        helper.make_node("Sigmoid", [cls], [which]),
        helper.make_node("Concat", [box, whether, which], [raw], axis=1),
        helper.make_node("Reshape", [raw, f"shape_{stride}"], [flat]),
    ]
