"""A float32 model -> the same with 8-bit weights and activations, for CPUs.

Static quantisation (Jacob et al., CVPR 2018) as ONNX Runtime's QDQ form: uint8 activations, whose ranges are learned
from frames, and int8 weights, one scale per output channel. uint8 times int8 is what x64 and ARM have instructions for.

Two things keep its answers near float32's at no cost in time: the first convolutions stay float32, and biases take
back what rounding shifts. On validation rows an earlier default model's probabilities were off by 0.0068 on average
with neither, by 0.0050 with the first, by 0.0030 with both (0.0040 with the second alone), and on one thread it was
twice as fast as float32 with neither and 2.1 times with both. Six convolutions in float32: 0.0025, but 1.9 times as
fast.

x64 CPUs without VNNI add pairs of such products in 16 bits, where 2 x 255 x 127 saturates. On those the service asks
ONNX Runtime for kernels that do not (`session.x64quantprecision`), which take 1.4 times as long as float32's, and by
itself runs float32. Weights of seven bits would fit everywhere, but double the rounding error: on validation rows they
moved the mean average precision of an earlier default model by 0.0033, eight bits by 0.0016.

# N = frames, H/W = frame height/width in pixels
"""

import contextlib
import io
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.calibrate import create_calibrator, save_tensors_data
from onnxruntime.quantization.shape_inference import quant_pre_process

from model_training.variants.bias_correction import correct_biases
from model_training.variants.local_logits import local_logits, pooling
from service.inference.artifact import INPUT

Frame = NDArray[np.uint8]
RangeMethod = Literal["minmax", "percentile", "entropy"]

_METHODS: Final[dict[RangeMethod, tuple[CalibrationMethod, dict[str, Any]]]] = {
    "minmax": (CalibrationMethod.MinMax, {}),
    "percentile": (CalibrationMethod.Percentile, {"percentile": 99.999, "symmetric": False}),
    "entropy": (CalibrationMethod.Entropy, {"symmetric": False}),
}
RANGE_METHODS: Final = tuple(_METHODS)
FIRST_IN_FLOAT32: Final = 3
"""Convolutions that keep float32: on few channels of many pixels int8 rounds most and gains little."""
CORRECTING_FRAMES: Final = 40
"""Of the frames, the first so many show what rounding has shifted."""
# Everything between pixels and local logits; other kinds of node keep float32.
_QUANTIZED_KINDS: Final = ("Conv", "Clip", "Relu", "Add", "Resize", "MaxPool", "GlobalAveragePool", "Concat")
# All activations of so many frames are in memory at once.
_FRAMES_AT_ONCE: Final = 4


def quantized(
    model: onnx.ModelProto, frames: Iterable[Frame], method: RangeMethod, first_in_float32: int = FIRST_IN_FLOAT32
) -> onnx.ModelProto:
    """The int8 model; `frames` (uint8 [H, W, 3]) show which values its activations take.

    The local logits themselves stay float32: a step of a 255th of their range would be a step in every probability.
    So do the first convolutions, `first_in_float32` of them.
    """
    with TemporaryDirectory(prefix="int8-") as folder, _quiet():
        names = ("float32.onnx", "prepared.onnx", "ranges.json", "int8.onnx")
        source, prepared, ranges, result = (Path(folder) / name for name in names)
        # Given a model and no file, the preparation would part it from its weights.
        onnx.save(model, source)
        # ONNX Runtime's symbolic shapes do not know log-sum-exp; the network before it has fixed ones anyway.
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        waiting = iter(frames)
        few = list(islice(waiting, CORRECTING_FRAMES))
        _learn_ranges(prepared, chain(few, waiting), method, ranges)
        quantize_static(
            prepared,
            result,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_QUANTIZED_KINDS),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_kept_in_float32(onnx.load(prepared), first_in_float32),
            calibrate_method=_METHODS[method][0],
            calibration_cache_path=ranges,
        )
        int8 = onnx.load(result)
        correct_biases(int8, onnx.load(prepared), few)
        return int8


def _learn_ranges(model: Path, frames: Iterable[Frame], method: RangeMethod, path: Path) -> None:
    kind, options = _METHODS[method]
    augmented = path.with_name("augmented.onnx")
    learner = create_calibrator(
        model, list(_QUANTIZED_KINDS), str(augmented), calibrate_method=kind, extra_options=options
    )
    waiting = iter(frames)
    while few := list(islice(waiting, _FRAMES_AT_ONCE)):
        learner.collect_data(_Frames(few))
    save_tensors_data(learner.compute_data(), path)


class _Frames(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime is not annotated
    """One frame after the other, as ONNX Runtime's calibration reads them."""

    def __init__(self, frames: Iterable[Frame]) -> None:
        self._frames: Iterator[Frame] = iter(frames)

    def get_next(self) -> dict[str, Frame] | None:
        frame_HWC = next(self._frames, None)
        return None if frame_HWC is None else {INPUT: frame_HWC[np.newaxis]}


def _kept_in_float32(model: onnx.ModelProto, first: int) -> list[str]:
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    return [*convolutions[:first], local_logits(model).name, *(node.name for node in pooling(model))]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """ONNX Runtime's quantiser prints what it is doing; our commands say what they do themselves."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
