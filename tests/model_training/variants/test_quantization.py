"""int8 answers like float32 within its steps, and keeps the first convolutions and the pooling."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from model_training.variants.quantization import RANGE_METHODS, quantized
from tests.model_training.small_network import answers, random_frames, small_network


def run(model, frames_BHWC):
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(["probabilities", "evidence"], {"frames": frames_BHWC})


def kinds(model):
    return [node.op_type for node in model.graph.node]


@pytest.fixture(scope="module")
def int8():
    return quantized(small_network(), random_frames(40, seed=1), "minmax", first_in_float32=0)


@pytest.mark.parametrize("method", RANGE_METHODS)
def test_int8_answers_like_the_hand_computation(method):
    """Red less green reaches 2 in 255 steps; six steps' worth of local logit is 0.05, a quarter of it probability."""
    model = quantized(small_network(), random_frames(40, seed=1), method, first_in_float32=0)
    frames_BHWC = random_frames(20)
    error_BL = np.abs(run(model, frames_BHWC)[0] - answers(frames_BHWC))
    assert error_BL.mean() < 0.01
    assert error_BL.max() < 0.05


def test_weights_are_int8_with_a_scale_for_each_channel_and_activations_uint8(int8):
    weights = {tensor.name: tensor for tensor in int8.graph.initializer}
    stem = next(tensor for name, tensor in weights.items() if name.startswith("stem_quantized"))
    scales = numpy_helper.to_array(weights["stem_scale"])
    assert (stem.data_type, scales.shape) == (onnx.TensorProto.INT8, (3,))
    np.testing.assert_allclose(scales, 1 / 16 / 127, rtol=0.01)
    points = [weights[node.input[2]] for node in int8.graph.node if node.op_type == "QuantizeLinear"]
    assert {point.data_type for point in points} == {onnx.TensorProto.UINT8}


def test_local_logits_and_pooling_stay_float32(int8):
    weights = {tensor.name: tensor.data_type for tensor in int8.graph.initializer}
    assert weights["local"] == onnx.TensorProto.FLOAT
    assert sorted(kinds(int8)[-5:]) == ["Conv", "ReduceLogSumExp", "Sigmoid", "Sigmoid", "Sub"]


def test_the_first_convolutions_stay_float32():
    """The small network has a stem and the local logits: with its stem kept, nothing is left to quantise."""
    model = quantized(small_network(), random_frames(8), "minmax")
    assert "stem" in {tensor.name for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    assert not any(tensor.name.endswith("_quantized") for tensor in model.graph.initializer)


def test_quantiser_keeps_quiet_and_the_source_whole(capsys):
    """What is printed by a library would stand between our own lines."""
    source = small_network()
    before = source.SerializeToString()
    quantized(source, random_frames(8), "entropy")
    assert capsys.readouterr().out == ""
    assert source.SerializeToString() == before


def test_model_is_valid_onnx(int8):
    onnx.checker.check_model(int8, full_check=True)
