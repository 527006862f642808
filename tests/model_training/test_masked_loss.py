"""The cost is exactly the one in the literature, over known entries only."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model_training.masked_loss import evidence_cross_entropy, masked_cross_entropy

UNKNOWN = math.nan
# One row per label, one column per frame, as in the literature; our tensors are the transpose.
Y_LB = torch.tensor([[1, 0, UNKNOWN, UNKNOWN], [0, 1, UNKNOWN, 0], [0, 1, UNKNOWN, 1], [UNKNOWN, 0, 1, 0]])
Y_BL = Y_LB.T.contiguous()


def independent_cost(logits_BL: np.ndarray, y_BL: np.ndarray) -> float:
    """The formula read literally, entry by entry, in float64."""
    total = 0.0
    for logits_L, y_L in zip(logits_BL.astype(np.float64), y_BL.astype(np.float64), strict=True):
        for logit, y in zip(logits_L, y_L, strict=True):
            if not math.isnan(y):
                p = 1 / (1 + math.exp(-logit))
                total += y * math.log(p) + (1 - y) * math.log(1 - p)
    return -total / len(y_BL)


def test_cost_of_the_worked_matrix_by_hand() -> None:
    """Probability 1/2 everywhere: 11 of the 16 entries are known, each costs log 2, over m = 4 frames."""
    assert int((~torch.isnan(Y_BL)).sum()) == 11
    cost = masked_cross_entropy(torch.zeros(4, 4), Y_BL, ~torch.isnan(Y_BL))
    assert cost.item() == pytest.approx(11 * math.log(2) / 4)


def test_cost_of_confident_answers_by_hand() -> None:
    """A frame with labels (1, 0, ?) and probabilities (0.8, 0.4, 0.9): -(log 0.8 + log 0.6)."""
    logits_BL = torch.logit(torch.tensor([[0.8, 0.4, 0.9]]))
    cost = masked_cross_entropy(logits_BL, torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[True, True, False]]))
    assert cost.item() == pytest.approx(-(math.log(0.8) + math.log(0.6)))


def test_cost_agrees_with_the_formula_in_float64() -> None:
    """On random logits for the worked matrix."""
    logits_BL = torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 4
    cost = masked_cross_entropy(logits_BL, Y_BL.double(), ~torch.isnan(Y_BL))
    assert cost.item() == pytest.approx(independent_cost(logits_BL.numpy(), Y_BL.numpy()), rel=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 2**31))
def test_cost_agrees_with_the_formula_on_any_matrix(frames: int, labels: int, seed: int) -> None:
    """Whatever is known of however many frames and labels."""
    random = np.random.default_rng(seed)
    y_BL = random.choice([0.0, 1.0, UNKNOWN], size=(frames, labels))
    logits_BL = random.normal(0, 3, (frames, labels))
    known_BL = torch.from_numpy(~np.isnan(y_BL))
    cost = masked_cross_entropy(torch.from_numpy(logits_BL), torch.from_numpy(y_BL), known_BL)
    assert cost.item() == pytest.approx(independent_cost(logits_BL, y_BL), rel=1e-9, abs=1e-12)


def test_gradient_is_p_minus_y_over_m_and_exactly_zero_where_unknown() -> None:
    """d cost / d logit = (p - y) / m for a known entry."""
    logits_BL = torch.randn(4, 4, generator=torch.Generator().manual_seed(1), requires_grad=True)
    known_BL = ~torch.isnan(Y_BL)
    masked_cross_entropy(logits_BL, Y_BL, known_BL).backward()
    expected_BL = (torch.sigmoid(logits_BL.detach()) - Y_BL.nan_to_num()) / 4
    assert logits_BL.grad is not None
    assert torch.allclose(logits_BL.grad[known_BL], expected_BL[known_BL], atol=1e-7)
    assert torch.equal(logits_BL.grad[~known_BL], torch.zeros(5))


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf, 1e30])
def test_unknown_entries_cannot_spoil_cost_or_gradient(poison: float) -> None:
    """Not even with NaN or infinity as logit and as target."""
    logits_BL = torch.tensor([[0.0, poison]], requires_grad=True)
    cost = masked_cross_entropy(logits_BL, torch.tensor([[1.0, poison]]), torch.tensor([[True, False]]))
    cost.backward()
    assert cost.item() == pytest.approx(math.log(2))
    assert logits_BL.grad is not None
    assert logits_BL.grad.tolist() == [[-0.5, 0.0]]


def test_batch_without_a_known_entry_costs_nothing_and_teaches_nothing() -> None:
    """0 with a zero gradient, so that such a batch needs no special case."""
    logits_BL = torch.randn(3, 4, requires_grad=True)
    cost = masked_cross_entropy(logits_BL, torch.full((3, 4), UNKNOWN), torch.zeros(3, 4, dtype=torch.bool))
    cost.backward()
    assert cost.item() == 0
    assert logits_BL.grad is not None
    assert torch.equal(logits_BL.grad, torch.zeros(3, 4))


def test_extreme_logits_stay_finite() -> None:
    """A logit of 1e4 on the wrong side costs 1e4, and not infinity."""
    cost = masked_cross_entropy(torch.tensor([[1e4, -1e4]]), torch.tensor([[0.0, 1.0]]), torch.ones(1, 2) > 0)
    assert cost.item() == pytest.approx(2e4)


def test_label_weights_scale_their_label() -> None:
    """Weights 2 and 0.5 on entries of log 2 each."""
    weights_L = torch.tensor([2.0, 0.5])
    cost = masked_cross_entropy(torch.zeros(1, 2), torch.eye(1, 2), torch.ones(1, 2) > 0, weights_L)
    assert cost.item() == pytest.approx(2.5 * math.log(2))


def test_inside_and_outside_of_boxes_weigh_the_same_on_a_map() -> None:
    """One cell inside at logit 0, two outside at logit 0 and one unknown: (log 2 + log 2) / 2."""
    cells = torch.tensor([[[[1, 0], [0, -1]]]], dtype=torch.int8)
    evidence = torch.tensor([[[[0.0, 0.0], [0.0, 50.0]]]], requires_grad=True)
    cost = evidence_cross_entropy(evidence, cells)
    cost.backward()
    assert cost.item() == pytest.approx(math.log(2))
    assert evidence.grad is not None
    # Inside: 1/2 * (p - 1) / 1 cell; outside: 1/2 * p / 2 cells; unknown: nothing.
    assert torch.allclose(evidence.grad, torch.tensor([[[[-0.25, 0.125], [0.125, 0.0]]]]))


def test_label_weights_scale_the_maps_of_their_label() -> None:
    """Weights 2 and 0.5 on maps that cost log 2 each."""
    cells = torch.tensor([[[[1, 0]], [[1, 0]]]], dtype=torch.int8)
    cost = evidence_cross_entropy(torch.zeros(1, 2, 1, 2), cells, torch.tensor([2.0, 0.5]))
    assert cost.item() == pytest.approx(2.5 * math.log(2))


def test_maps_without_known_cells_cost_nothing() -> None:
    """0, not NaN from an empty mean."""
    assert evidence_cross_entropy(torch.randn(2, 3, 4, 4), torch.full((2, 3, 4, 4), -1, dtype=torch.int8)).item() == 0
