"""Depthwise convolutions that train at a reasonable speed in bfloat16 on a CPU.

oneDNN's bfloat16 weight gradient of a depthwise 5 x 5 kernel takes about six times as long as its float32 one (148
against 23 ms for 24 x 240 x 32 x 48 on two cores), more than all else in a step of an EfficientNet together. Where
there is AMX, that of the frames is slow too once a kernel has a stride (107 against 1.3 ms for 24 x 144 x 32 x 48).
Here both gradients are computed in float32; the weights stay in place under the same names.
"""

from typing import Any

import torch
from timm.layers.padding import pad_same
from torch import Tensor, nn
from torch.nn import functional


def with_fast_gradients(network: nn.Module) -> nn.Module:
    """Replace, in place, every depthwise convolution by one that computes the same with a faster gradient."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Conv2d) and child.groups == child.in_channels == child.out_channels > 1:
                setattr(parent, name, _DepthwiseConv2d(child))
    return network


class _DepthwiseConv2d(nn.Module):
    """`original`, with the weight it has."""

    def __init__(self, original: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = original.weight, original.bias
        # timm pads "same" dynamically in a subclass of its own; plain convolutions carry their padding.
        self._pads_same = type(original) is not nn.Conv2d
        self._kernel, self._stride, self._dilation = (
            list(original.kernel_size),
            list(original.stride),
            list(original.dilation),
        )
        self._padding = (0, 0) if self._pads_same else original.padding
        self._groups = original.groups

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        if self._pads_same:
            frames_BCHW = pad_same(frames_BCHW, self._kernel, self._stride, self._dilation)
        weight = self.weight.to(frames_BCHW.dtype)
        convolved: Tensor = _DepthwiseConvolution.apply(
            frames_BCHW, weight, self._stride, self._padding, self._dilation, self._groups
        )
        return convolved if self.bias is None else convolved + self.bias[:, None, None]


class _DepthwiseConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, frames: Tensor, weight: Tensor, *geometry: Any) -> Tensor:
        ctx.save_for_backward(frames, weight)
        ctx.geometry = geometry
        stride, padding, dilation, groups = geometry
        return functional.conv2d(frames, weight, None, stride, padding, dilation, groups)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        frames, weight = ctx.saved_tensors
        wanted = (ctx.needs_input_grad[0], ctx.needs_input_grad[1], False)
        by_frames, by_weight, _ = _gradients(gradients[0].float(), frames.float(), weight.float(), ctx.geometry, wanted)
        return _as(frames, by_frames), _as(weight, by_weight), None, None, None, None


def _as(like: Tensor, gradient: Tensor | None) -> Tensor | None:
    return None if gradient is None else gradient.to(like.dtype)


def _gradients(
    gradient: Tensor, frames: Tensor, weight: Tensor, geometry: tuple[Any, ...], wanted: tuple[bool, bool, bool]
) -> tuple[Tensor | None, ...]:
    stride, padding, dilation, groups = geometry
    parts: tuple[Tensor | None, ...] = torch.ops.aten.convolution_backward(
        gradient, frames, weight, None, stride, padding, dilation, False, (0, 0), groups, wanted
    )
    return parts
