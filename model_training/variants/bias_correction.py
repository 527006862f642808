"""Biases that take back the shift that rounding weights brings to every channel.

Rounding errors of a channel's weights do not average out over its inputs, which clipped activations keep positive: its
mean moves, and so do all layers behind it. Layer after layer, the difference of the means goes into the bias, as in the
empirical bias correction of Nagel et al. (ICCV 2019, section 4.2). It costs nothing when the model runs.

# C = channels
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

from service.inference.artifact import INPUT
from service.inference.session import adds_bytes_exactly

Frame = NDArray[np.uint8]
Means = dict[str, NDArray[np.float64]]

_INT32: Final = np.iinfo(np.int32)


def correct_biases(int8: onnx.ModelProto, float32: onnx.ModelProto, frames: Sequence[Frame]) -> None:
    """Change `int8` so that each convolution's channels have on `frames` the means they have in `float32`.

    `int8` is `float32` quantised in QDQ form, with the same names of nodes; `frames` are uint8 [H, W, 3]. A convolution
    without a bias stays as it is. One after the other: each sees what the corrections before it have left.
    """
    outputs = {node.name: node.output[0] for node in float32.graph.node if node.op_type == "Conv"}
    expected = _channel_means(float32, list(outputs.values()), frames)
    for node in int8.graph.node:
        if node.op_type == "Conv" and len(node.input) > 2:
            # Before any clipping, whether a node does that or the quantisation behind the convolution.
            actual_C = _channel_means(int8, [node.output[0]], frames)[node.output[0]]
            _add_to_bias(int8.graph, node.input[2], expected[outputs[node.name]] - actual_C)


def _channel_means(model: onnx.ModelProto, outputs: Sequence[str], frames: Sequence[Frame]) -> Means:
    """Means over frames and pixels, [C] each; ONNX Runtime computes no more of the model than they need."""
    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.output[:]
    part.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs)
    options = onnxruntime.SessionOptions()
    if not adds_bytes_exactly():
        options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(part.SerializeToString(), options, providers=["CPUExecutionProvider"])
    sums: Means = {}
    for frame_HWC in frames:
        for name, values_1CHW in zip(outputs, session.run(outputs, {INPUT: frame_HWC[np.newaxis]}), strict=True):
            sums[name] = sums.get(name, 0.0) + values_1CHW.mean(axis=(0, 2, 3), dtype=np.float64)
    return {name: total_C / len(frames) for name, total_C in sums.items()}


def _add_to_bias(graph: onnx.GraphProto, name: str, shift_C: NDArray[np.float64]) -> None:
    """A float32 bias takes the shift itself; one that a DequantizeLinear makes, as many of its steps."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    if name in tensors:
        tensor = tensors[name]
        bias_C = (numpy_helper.to_array(tensor) + shift_C).astype(np.float32)
    else:
        dequantize = next(node for node in graph.node if name in node.output)
        tensor, step_C = tensors[dequantize.input[0]], numpy_helper.to_array(tensors[dequantize.input[1]])
        steps_C = numpy_helper.to_array(tensor) + np.rint(shift_C / step_C.astype(np.float64))
        bias_C = np.clip(steps_C, _INT32.min, _INT32.max).astype(np.int32)
    tensor.CopyFrom(numpy_helper.from_array(bias_C, tensor.name))
