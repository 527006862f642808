"""Depthwise convolutions that train at a reasonable speed in bfloat16 on a CPU.

oneDNN's bfloat16 weight gradient of a depthwise 5 x 5 kernel takes about six times as long as its float32 one (148
against 23 ms for 24 x 240 x 32 x 48 on two cores), more than all else in a step of an EfficientNet together. Where
there is AMX, that of the frames is slow too once a kernel has a stride (107 against 1.3 ms for 24 x 144 x 32 x 48).
Here both gradients are computed in float32; the weights stay in place under the same names.

In float32 the weight gradient of a 5 x 5 kernel is still twenty times as slow as that of a 3 x 3 one, for which oneDNN
has a program of its own (9.7 against 0.44 ms for 24 x 672 x 8 x 12). It is put together from those of its four corners.
"""

from typing import Any, TypeGuard

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn
from torch.nn import functional


def with_fast_gradients(network: nn.Module) -> nn.Module:
    """Replace, in place, every depthwise convolution by one that computes the same with a faster gradient."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if _is_depthwise(child):
                setattr(parent, name, _DepthwiseConv2d(child))
    return network


def _is_depthwise(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    # timm pads "same" dynamically in a subclass of its own; other subclasses may compute something else.
    if not isinstance(module, nn.Conv2d) or type(module) not in (nn.Conv2d, Conv2dSame):
        return False
    return module.groups == module.in_channels == module.out_channels > 1


class _DepthwiseConv2d(nn.Module):
    """`original`, with the weight it has."""

    def __init__(self, original: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = original.weight, original.bias
        self._pads_same = type(original) is Conv2dSame
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
        by_frames_wanted, by_weight_wanted, *_ = ctx.needs_input_grad
        gradient = gradients[0].float()
        by_frames = _by_frames(gradient, frames, weight, ctx.geometry) if by_frames_wanted else None
        by_weight = _by_weight(gradient, frames, weight, ctx.geometry) if by_weight_wanted else None
        return by_frames, by_weight, None, None, None, None


def _by_frames(gradient: Tensor, frames: Tensor, weight: Tensor, geometry: tuple[Any, ...]) -> Tensor:
    # Of the frames, only shape and layout matter here.
    like = torch.empty_like(frames, dtype=torch.float32)
    return _gradients(gradient, like, weight.float(), geometry, (True, False, False))[0].to(frames.dtype)


def _by_weight(gradient: Tensor, frames: Tensor, weight: Tensor, geometry: tuple[Any, ...]) -> Tensor:
    stride, padding, dilation, groups = geometry
    if weight.shape[2:] != (5, 5) or tuple(dilation) != (1, 1):
        return _weight_gradient(gradient, frames, weight, geometry)
    padded = functional.pad(frames, (padding[1], padding[1], padding[0], padding[0]))
    height, width = padded.shape[2:]
    by_weight = torch.empty_like(weight)
    # The corners share the middle row and the middle column of the kernel.
    for y, x in ((0, 0), (0, 2), (2, 0), (2, 2)):
        corner = by_weight[:, :, y : y + 3, x : x + 3]
        seen = padded[:, :, y : height - 2 + y, x : width - 2 + x]
        corner.copy_(_weight_gradient(gradient, seen, corner, (stride, (0, 0), dilation, groups)))
    return by_weight


def _weight_gradient(gradient: Tensor, frames: Tensor, weight: Tensor, geometry: tuple[Any, ...]) -> Tensor:
    dense = frames.to(torch.float32, memory_format=torch.channels_last)
    return _gradients(gradient, dense, weight.float(), geometry, (False, True, False))[1].to(weight.dtype)


def _gradients(
    gradient: Tensor, frames: Tensor, weight: Tensor, geometry: tuple[Any, ...], wanted: tuple[bool, bool, bool]
) -> tuple[Tensor, ...]:
    stride, padding, dilation, groups = geometry
    parts: tuple[Tensor, ...] = torch.ops.aten.convolution_backward(
        gradient, frames, weight, None, stride, padding, dilation, False, (0, 0), groups, wanted
    )
    return parts
