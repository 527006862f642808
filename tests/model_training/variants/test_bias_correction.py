"""What rounding shifts on average goes back into the biases, by hand computation."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from model_training.variants.bias_correction import correct_biases

STEP = 0.25
# Two frames of one pixel: their means are 20, 40 and 60.
FRAMES = [np.array([[[10, 30, 50]]], np.uint8), np.array([[[30, 50, 70]]], np.uint8)]


def network(first, second=((1.0, 1.0),), *, bias=True, bias_in_steps=False):
    """Two convolutions of one pixel each, [2, 3] and [1, 2]; the biases of the first are 1 and 2, in steps if asked."""
    weights = {
        "first": np.array(first, np.float32)[:, :, None, None],
        "second": np.array(second, np.float32)[:, :, None, None],
        "second_bias": np.array([0.5], np.float32),
        "first_bias": np.array([1, 2], np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["frames"], ["pixels_"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels_"], ["planes"], "transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "first", "first_bias"][: 3 if bias else 2], ["middle"], "first_conv"),
        helper.make_node("Conv", ["middle", "second", "second_bias"], ["out"], "second_conv"),
    ]
    if bias_in_steps:
        weights |= {"first_bias_steps": np.array([4, 8], np.int32), "step": np.array([STEP, STEP], np.float32)}
        weights["zero"] = np.zeros(2, np.int32)
        del weights["first_bias"]
        inputs = ["first_bias_steps", "step", "zero"]
        nodes.insert(2, helper.make_node("DequantizeLinear", inputs, ["first_bias"], "dequantize", axis=0))
    graph = helper.make_graph(
        nodes,
        "two",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, ["B", "H", "W", 3])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def tensor(model, name):
    return next(numpy_helper.to_array(each) for each in model.graph.initializer if each.name == name)


EXACT = ((1.0, 0.0, 0.0), (0.0, 0.5, 0.0))
# Off by 0.1 x 40 = 4 in the first channel, and by -0.02 x 60 = -1.2 in the second.
ROUNDED = ((1.0, 0.1, 0.0), (0.0, 0.5, -0.02))


def test_each_channel_gets_its_own_shift_back():
    int8 = network(ROUNDED)
    correct_biases(int8, network(EXACT), FRAMES)
    np.testing.assert_allclose(tensor(int8, "first_bias"), [1 - 4, 2 + 1.2], rtol=1e-5)


def test_quantised_bias_moves_by_whole_steps():
    """-4 is -16 steps of a quarter; 1.2 is 4.8 of them, so 5."""
    int8 = network(ROUNDED, bias_in_steps=True)
    correct_biases(int8, network(EXACT), FRAMES)
    steps = tensor(int8, "first_bias_steps")
    assert (steps.dtype, steps.tolist()) == (np.int32, [4 - 16, 8 + 5])


def test_later_layers_take_back_only_what_is_left():
    """The first is corrected up to 0.2 steps of a quarter, which is 0.05; the second doubles its first input by itself.

    That input is 20 + 1 = 21 on average.
    """
    int8 = network(ROUNDED, ((2.0, 1.0),), bias_in_steps=True)
    correct_biases(int8, network(EXACT), FRAMES)
    np.testing.assert_allclose(tensor(int8, "second_bias"), [0.5 - 21 - 0.05], rtol=1e-5)


def test_same_model_stays_as_it_is():
    int8 = network(EXACT, bias_in_steps=True)
    before = int8.SerializeToString()
    correct_biases(int8, network(EXACT), FRAMES)
    assert int8.SerializeToString() == before


def test_shift_of_a_convolution_without_bias_falls_to_the_next():
    int8 = network(ROUNDED, bias=False)
    correct_biases(int8, network(EXACT, bias=False), FRAMES)
    np.testing.assert_allclose(tensor(int8, "second_bias"), [0.5 - 4 + 1.2], rtol=1e-5)


def test_bias_stays_within_int32():
    """A channel whose weights are next to nothing has steps as small; a bias that overflowed would change its sign."""
    int8 = network(ROUNDED, bias_in_steps=True)
    steps = next(each for each in int8.graph.initializer if each.name == "step")
    steps.CopyFrom(numpy_helper.from_array(np.array([1e-10, STEP], np.float32), "step"))
    correct_biases(int8, network(EXACT), FRAMES)
    assert tensor(int8, "first_bias_steps")[0] == np.iinfo(np.int32).min
