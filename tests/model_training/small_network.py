"""A model file with two convolutions, whose answers numpy computes as well, built with nothing but the onnx package.

Frames of 8 x 12 pixels; a cell of 4 x 4 pixels knows the mean of red less green, and the other way round.
"""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from service.inference.artifact import EVIDENCE, INPUT, METADATA_KEY, PROBABILITIES
from tests.tiny_model import GRID, HEIGHT, WIDTH, tiny_metadata

STRENGTH, BIAS = 6.0, -3.0
# The stem's outputs: red less green, green less red, and blue, which nothing reads.
_STEM = np.array([[1, -1, 0], [-1, 1, 0], [0, 0, 1]], np.float32)


def small_network(strength: float = STRENGTH) -> onnx.ModelProto:
    """The graph, normalising as (pixel - 127) / 128."""
    stem = np.repeat(np.repeat((_STEM / 16)[:, :, None, None], 4, axis=2), 4, axis=3)
    local = np.eye(2, 3, dtype=np.float32)[:, :, None, None] * np.float32(strength)
    weights = {
        "mean": np.full(3, 127, np.float32),
        "scale": np.full(3, 128, np.float32),
        "stem": stem,
        "stem_bias": np.zeros(3, np.float32),
        "local": local,
        "local_bias": np.full(2, BIAS, np.float32),
        "cells": np.array([2, 3], np.int64),
        "log_cells": np.array(np.log(GRID[0] * GRID[1]), np.float32),
    }
    nodes = [
        helper.make_node("Cast", [INPUT], ["pixels_"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Sub", ["pixels_", "mean"], ["centred"], "sub"),
        helper.make_node("Div", ["centred", "scale"], ["scaled"], "div"),
        helper.make_node("Transpose", ["scaled"], ["planes"], "transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "stem", "stem_bias"], ["features"], "stem_conv", strides=[4, 4]),
        helper.make_node("Relu", ["features"], ["active"], "relu"),
        helper.make_node("Conv", ["active", "local", "local_bias"], ["logits_map"], "local_conv"),
        helper.make_node("ReduceLogSumExp", ["logits_map", "cells"], ["summed"], "pool", keepdims=0),
        helper.make_node("Sub", ["summed", "log_cells"], ["logits"], "pool_mean"),
        helper.make_node("Sigmoid", ["logits"], [PROBABILITIES], "probability"),
        helper.make_node("Sigmoid", ["logits_map"], [EVIDENCE], "evidence_map"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["B", HEIGHT, WIDTH, 3])],
        [
            helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ["B", 2]),
            helper.make_tensor_value_info(EVIDENCE, TensorProto.FLOAT, ["B", 2, *GRID]),
        ],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def answers(frames_BHWC: NDArray[np.uint8], strength: float = STRENGTH) -> NDArray[np.float64]:
    """Probabilities [B, 2] in float64; the mean cancels and the scale is 128."""
    cells = frames_BHWC.astype(float).reshape(-1, GRID[0], 4, GRID[1], 4, 3).mean(axis=(2, 4)) / 128
    difference = cells[..., 0] - cells[..., 1]
    local = strength * np.maximum(np.stack([difference, -difference], axis=1), 0) + BIAS
    logits_BL = np.log(np.exp(local).mean(axis=(2, 3)))
    return 1 / (1 + np.exp(-logits_BL))


def random_frames(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Frames whose 4 x 4 cells have one colour each."""
    cells = np.random.default_rng(seed).integers(0, 256, (count, *GRID, 3), np.uint8)
    return cells.repeat(4, axis=1).repeat(4, axis=2)


def write_small_network(path: Path, threshold: float = 0.5) -> Path:
    """The graph with the metadata of the tiny model; its self-test holds what `answers` says."""
    metadata = tiny_metadata(threshold=threshold)
    (vector,) = metadata.self_test
    expected_L = answers(vector.frame(HEIGHT, WIDTH)[None])[0]
    own = vector.model_copy(update={"probabilities": tuple(expected_L.tolist())})
    model = small_network()
    helper.set_model_props(model, {METADATA_KEY: metadata.model_copy(update={"self_test": (own,)}).model_dump_json()})
    onnx.save(model, path)
    return path
