"""Distances from a detector's cells by hand, and what a network needs to imitate them."""

import math

import pytest
import torch
from torch import Tensor

from model_training.configuration import NetworkConfiguration
from model_training.imitation import Imitator, feature_distance, score_divergence
from model_training.network import PresenceNetwork

SMALL = NetworkConfiguration(trunk="test_efficientnet", pretrained="none", head_width=16)


def cells(*values: float) -> Tensor:
    """One channel in one frame, a row of cells."""
    return torch.tensor(values).reshape(1, 1, 1, -1)


def test_features_are_compared_in_their_own_deviations() -> None:
    """10 and 14 lie 2 from their mean 12, which is 0.7071 of their deviation (as of a sample) of 2.8284."""
    theirs_BChw = cells(10.0, 14.0)
    assert float(feature_distance(cells(-0.7071, 0.7071), theirs_BChw)) == pytest.approx(0, abs=1e-5)
    assert float(feature_distance(cells(0.0, 0.0), theirs_BChw)) == pytest.approx(0.5, abs=1e-3)
    assert float(feature_distance(cells(0.2929, 0.7071), theirs_BChw)) == pytest.approx(0.5, abs=1e-3)


def test_every_feature_counts_alike_whatever_its_scale() -> None:
    """A thousandfold channel is as far away as a small one."""
    small_BChw = torch.randn(3, 1, 4, 5, generator=torch.Generator().manual_seed(0))
    both_BChw = torch.cat([small_BChw, 1000 * small_BChw], dim=1)
    nothing = torch.zeros_like(both_BChw)
    alone = feature_distance(nothing[:, :1], small_BChw)
    assert float(feature_distance(nothing, both_BChw)) == pytest.approx(float(alone), rel=1e-2)


def test_a_feature_that_never_changes_is_met_by_nothing() -> None:
    assert float(feature_distance(cells(0.0, 0.0), cells(7.0, 7.0))) == 0


def test_divergence_of_scores_by_hand() -> None:
    """0.5 against 0.8: 0.8 ln 1.6 + 0.2 ln 0.4 = 0.19274; over 0.8 + 1 it is 0.10708. Alike is 0."""
    assert float(score_divergence(cells(0.0), cells(0.8))) == pytest.approx(0.10708, abs=1e-5)
    assert float(score_divergence(cells(math.log(4)), cells(0.8))) == pytest.approx(0, abs=1e-6)


def test_divergence_counts_objects_and_not_cells() -> None:
    """A hundred empty cells more, of which the network says so, change nothing that can be seen."""
    logits, scores = cells(0.0, *[-9.0] * 100), cells(0.8, *[0.0] * 100)
    assert float(score_divergence(logits, scores)) == pytest.approx(0.10708, abs=6e-3)


def test_a_score_of_0_or_1_is_no_infinity() -> None:
    assert math.isfinite(float(score_divergence(cells(-200.0, 200.0), cells(1.0, 0.0))))


def test_levels_are_mapped_to_what_a_detector_has_there() -> None:
    """64 x 96 pixels have 8 x 12, 4 x 6 and 2 x 3 cells; 5 features, and 3 scores that start at sigmoid -4 = 0.018."""
    torch.manual_seed(0)
    imitator = Imitator(PresenceNetwork(SMALL, labels=2), features=5, scores=3)
    with torch.no_grad():
        output, imitated = imitator(torch.zeros(2, 64, 96, 3, dtype=torch.uint8))
    assert output.logits_BL.shape == (2, 2)
    assert [tuple(level.shape) for level in imitated] == [(2, 8, 8, 12), (2, 8, 4, 6), (2, 8, 2, 3)]
    assert float(torch.sigmoid(imitated[0][:, 5:]).mean()) == pytest.approx(0.018, abs=0.005)


def test_the_cost_is_the_mean_over_levels_of_both_distances() -> None:
    """Level one has distances 0.5 and 0.10708, level two 0 and 0."""
    imitator = Imitator(PresenceNetwork(SMALL, labels=2), features=1, scores=1)
    far = (torch.cat([cells(0.0, 0.0), cells(0.0, -9.3)], 1), torch.cat([cells(10.0, 14.0), cells(0.8, 1e-4)], 1))
    near = (torch.cat([cells(-0.7071, 0.7071), cells(0.0, 0.0)], 1), torch.cat([cells(10.0, 14.0), cells(0.5, 0.5)], 1))
    cost = imitator.cost([far[0], near[0]], [far[1], near[1]]).detach()
    assert float(cost) == pytest.approx((0.5 + 0.10708) / 2, abs=1e-3)


def test_without_a_detector_there_is_the_network_alone() -> None:
    """No weights more than it has, and no answers beside its own."""
    network = PresenceNetwork(SMALL, labels=2)
    imitator = Imitator(network)
    assert [id(p) for p in imitator.parameters()] == [id(p) for p in network.parameters()]
    output, imitated = imitator(torch.zeros(1, 64, 96, 3, dtype=torch.uint8))
    assert torch.equal(output.logits_BL, network(torch.zeros(1, 64, 96, 3, dtype=torch.uint8)).logits_BL)
    assert imitated == ()
