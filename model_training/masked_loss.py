"""Binary cross-entropy over known entries only.

# B = frames in a batch (m in the literature), L = labels, h/w = evidence grid
"""

import torch
from torch import Tensor
from torch.nn import functional


def masked_cross_entropy(
    logits_BL: Tensor, targets_BL: Tensor, known_BL: Tensor, label_weights_L: Tensor | None = None
) -> Tensor:
    """cost = -(1/m) sum over frames i, sum over known labels j, of [y log p + (1 - y) log(1 - p)], p = sigmoid(logit).

    Unknown entries weigh nothing: a label nobody looked for is not a label that is absent. Whatever stands in
    `targets_BL` and `logits_BL` there, even NaN, adds 0 to the cost and has a gradient of exactly 0; a batch without
    any known entry costs 0. Targets may be soft, in [0, 1].

    Two frames, three labels, logits all 0, one entry unknown: five entries of log 2 each, over m = 2 frames.

    >>> round(float(masked_cross_entropy(torch.zeros(2, 3), torch.eye(2, 3), torch.eye(2, 3) < 1)), 4)
    1.3863
    """
    # Masked before the loss and not after it: 0 times an infinite gradient would be NaN.
    zero = logits_BL.new_zeros(())
    entries_BL = functional.binary_cross_entropy_with_logits(
        torch.where(known_BL, logits_BL, zero), torch.where(known_BL, targets_BL, zero), reduction="none"
    )
    entries_BL = torch.where(known_BL, entries_BL, zero)
    if label_weights_L is not None:
        entries_BL = entries_BL * label_weights_L
    return entries_BL.sum() / len(logits_BL)


def evidence_cross_entropy(evidence_BLhw: Tensor, cells_BLhw: Tensor, label_weights_L: Tensor | None = None) -> Tensor:
    """The boxes' loss on the maps: cells are 1 inside a box, 0 outside all boxes, -1 where nothing is known.

    Per map the mean over cells inside and the mean over cells outside weigh the same, since an object covers few
    cells; then summed over labels and averaged over frames as in `masked_cross_entropy`.
    """
    per_cell = functional.binary_cross_entropy_with_logits(
        evidence_BLhw, (cells_BLhw == 1).to(evidence_BLhw.dtype), reduction="none"
    )
    inside, outside = (_mean_where(per_cell, cells_BLhw == value) for value in (1, 0))
    maps_BL = 0.5 * (inside + outside)
    return (maps_BL if label_weights_L is None else maps_BL * label_weights_L).sum() / len(evidence_BLhw)


def _mean_where(values_BLhw: Tensor, mask_BLhw: Tensor) -> Tensor:
    count_BL = mask_BLhw.sum(dim=(-2, -1))
    return (values_BLhw * mask_BLhw).sum(dim=(-2, -1)) / count_BL.clamp(min=1)
