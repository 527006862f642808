"""The faster depthwise convolution computes the same."""

import copy

import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.std_conv import StdConv2d
from torch import nn

from model_training.configuration import NetworkConfiguration
from model_training.depthwise import with_fast_gradients
from model_training.network import PresenceNetwork


def depthwise_convolutions() -> list[nn.Conv2d]:
    return [
        nn.Conv2d(6, 6, 5, padding=2, groups=6, bias=False),
        nn.Conv2d(6, 6, 3, padding=1, stride=2, groups=6),
        nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=6),
        Conv2dSame(6, 6, 5, stride=2, groups=6, bias=False),
        nn.Conv2d(6, 6, 5, padding=(2, 1), stride=(1, 2), groups=6, bias=False),
        nn.Conv2d(6, 6, 5, padding=4, dilation=2, groups=6, bias=False),
    ]


@pytest.mark.parametrize("number", range(6))
def test_output_and_gradients_agree_with_torch(number: int) -> None:
    """In float64, for every kind of kernel, padding, stride and dilation."""
    torch.manual_seed(number)
    original = nn.Sequential(depthwise_convolutions()[number]).double()
    replaced = with_fast_gradients(copy.deepcopy(original))
    assert type(replaced[0]) is not type(original[0])
    results = []
    for network in (original, replaced):
        frames = torch.randn(2, 6, 11, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
        frames.requires_grad_()
        output = network(frames)
        (output**2).sum().backward()
        results.append([output, frames.grad, *(parameter.grad for parameter in network.parameters())])
    for expected, seen in zip(*results, strict=True):
        # The weight gradient is computed in float32.
        assert torch.allclose(seen, expected, rtol=1e-5, atol=1e-5)


def test_weights_keep_their_names() -> None:
    """A checkpoint of one fits the other."""
    configuration = NetworkConfiguration(trunk="test_efficientnet", pretrained="none", head_width=16)
    network = PresenceNetwork(configuration, labels=2)
    names = list(network.state_dict())
    assert list(with_fast_gradients(network).state_dict()) == names


def test_only_depthwise_convolutions_are_replaced() -> None:
    """A plain, a pointwise and a grouped one stay, and one that changes its weight before it convolves."""
    network = nn.Sequential(
        nn.Conv2d(4, 4, 3), nn.Conv2d(4, 8, 1), nn.Conv2d(4, 4, 3, groups=2), StdConv2d(4, 4, 3, groups=4)
    )
    assert [type(module) for module in with_fast_gradients(network)] == [nn.Conv2d] * 3 + [StdConv2d]


def test_bfloat16_weight_gradient_is_as_exact_as_float32_allows() -> None:
    """That of float32, rounded once: bfloat16 has eight bits."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False))
    replaced = with_fast_gradients(copy.deepcopy(network))
    frames = torch.randn(4, 8, 16, 16).bfloat16()
    network(frames.float()).sum().backward()
    with torch.autocast("cpu", torch.bfloat16):
        output = replaced(frames)
    output.float().sum().backward()
    assert torch.allclose(replaced[0].weight.grad, network[0].weight.grad, rtol=2**-8, atol=1e-4)
