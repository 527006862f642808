"""A network learns to see in every cell what a detector sees there, whatever was done to the frame.

Labels say of a frame that a pedestrian is in it; a detector that learned from a hundred thousand boxed frames says of
every cell what it looks like. A few thousand frames, each changed anew whenever it is drawn, teach much more so
(Beyer et al., Knowledge distillation: a good teacher is patient and consistent, CVPR 2022).

# B = frames in a batch, C = channels, h/w = cells of one level
"""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_training.network import NetworkOutput, PresenceNetwork

_FAINT: Final = 1e-4
# At the start nothing is seen anywhere: objects are rare among the cells.
_RARE_LOGIT: Final = -4.0


class Imitator(nn.Module):
    """`network` and, for training alone, a linear map from each level of its features to a detector's (Romero et al.,
    FitNets, ICLR 2015). Without features and scores to imitate there are no maps, and nothing to be answered by them.
    """

    def __init__(self, network: PresenceNetwork, features: int = 0, scores: int = 0) -> None:
        super().__init__()
        self.network, self.features = network, features
        levels, width = (len(network.head.norms), network.head.width) if features + scores else (0, 0)
        self.maps = nn.ModuleList(_linear(width, features, scores) for _ in range(levels))

    def forward(self, frames_BHWC: Tensor) -> tuple[NetworkOutput, tuple[Tensor, ...]]:
        """The network's output, and what it takes a detector to compute: float [B, C, h, w] a level, finest first."""
        output: NetworkOutput = self.network(frames_BHWC)
        levels = zip(self.maps, output.levels, strict=bool(self.maps))
        return output, tuple(linear(level_BChw).float() for linear, level_BChw in levels)

    def cost(self, imitated: Sequence[Tensor], detected: Sequence[Tensor]) -> Tensor:
        """How far the levels are from the detector's, on average over levels."""
        costs = [
            feature_distance(ours_BChw[:, : self.features], theirs_BChw[:, : self.features].float())
            + score_divergence(ours_BChw[:, self.features :], theirs_BChw[:, self.features :].float())
            for ours_BChw, theirs_BChw in zip(imitated, detected, strict=True)
        ]
        return torch.stack(costs).mean()


def feature_distance(ours_BChw: Tensor, theirs_BChw: Tensor) -> Tensor:
    """Mean squared distance to features each of which has, over the batch, mean 0 and deviation 1.

    A network that says 0 everywhere is at distance 1.
    """
    deviation_C, mean_C = torch.std_mean(theirs_BChw, dim=(0, 2, 3), keepdim=True)
    return functional.mse_loss(ours_BChw, (theirs_BChw - mean_C) / (deviation_C + 1e-3))


def score_divergence(logits_BChw: Tensor, scores_BChw: Tensor) -> Tensor:
    """Divergence (Kullback and Leibler) of what the logits say from the scores, summed, for each object that is there.

    Cells with objects are few, so it is the sum of the best scores of cells, plus one, that it is divided by.
    """
    scores_BChw = scores_BChw.clamp(_FAINT, 1 - _FAINT)
    crossed = functional.binary_cross_entropy_with_logits(logits_BChw, scores_BChw, reduction="sum")
    own = functional.binary_cross_entropy(scores_BChw, scores_BChw, reduction="sum")
    return (crossed - own) / (scores_BChw.amax(dim=1).sum() + 1)


def _linear(width: int, features: int, scores: int) -> nn.Conv2d:
    linear = nn.Conv2d(width, features + scores, 1)
    nn.init.normal_(linear.weight, std=0.01)
    linear.bias = nn.Parameter(torch.cat([torch.zeros(features), torch.full((scores,), _RARE_LOGIT)]))
    return linear
