"""A row of the label table -> a frame as the service would see it, and its targets; in which order rows are drawn.

# B = frames in a batch, L = labels, H/W = frame height/width in pixels, h/w = evidence grid
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from model_training.augmentation.changes import DOUBTFUL, SURE, Sample, recorded_differently, seen_differently
from model_training.augmentation.frame_sizes import FrameSizes, Size, resolvable
from model_training.augmentation.mosaic import four_in_one, mosaic, quarter_sizes
from model_training.augmentation.pasting import cut_out, donors, pasted
from model_training.configuration import TrainingConfiguration
from model_training.label_table import ABSENT, PRESENT, UNKNOWN, LabelTable
from model_training.sources.annotated_frame import Box
from model_training.sources.readable_images import decoded
from model_training.teacher.cells import DetectorCells
from model_training.teacher.soft_targets import SoftTargets
from service.inference.decoding import decode_at_least, decode_frame, resize

GRID_STRIDE = 8
_DETECTED: Final = "detected_"


class Draw(NamedTuple):
    """A row, three that may join it in a mosaic, the seed of the change they undergo, and the size they are scaled to.

    The same draw gives the same sample in every process. Without a size it is the configuration's.
    """

    rows: tuple[int, int, int, int]
    seed: tuple[int, ...]
    size: Size | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """frames uint8 [B, H, W, 3]; targets, known, soft, soft_known [B, L]; cells int8 [B, L, h, w] of 1, 0, -1.

    `detected` are a detector's levels to be imitated, float16 [B, C, h, w] each; none where there is no detector.
    """

    frames_BHWC: Tensor
    targets_BL: Tensor
    known_BL: Tensor
    soft_BL: Tensor
    soft_known_BL: Tensor
    cells_BLhw: Tensor
    detected: tuple[Tensor, ...] = ()

    def to(self, device: torch.device) -> "Batch":
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """A copy in page-locked memory, from where a GPU fetches it while the CPU goes on; a DataLoader calls this."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        changed = {name: change(getattr(self, name)) for name in self.__slots__ if name != "detected"}
        return Batch(**changed, detected=tuple(map(change, self.detected)))


class TrainingFrames(Dataset[dict[str, Any]]):
    """Indexed by `Draw`: the row's frame, augmented, with its targets; raises ImageChanged.

    A detector, if there is one to imitate, sees the same view as it was recorded, before colours are changed.
    """

    def __init__(
        self,
        table: LabelTable,
        soft: SoftTargets,
        configuration: TrainingConfiguration,
        detector: DetectorCells | None = None,
    ) -> None:
        self._table, self._soft, self._configuration, self._detector = table, soft, configuration, detector
        self._donors = donors(table, configuration.augmentation.pasted)

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, draw: Draw) -> dict[str, NDArray[Any]]:
        configuration, random = self._configuration, np.random.default_rng(draw.seed)
        size = draw.size or (configuration.height, configuration.width)
        if random.random() >= configuration.augmentation.mosaic:
            sample, recorded_HWC = self._changed(draw.rows[0], size, random)
        else:
            sizes = quarter_sizes(*size, GRID_STRIDE, random)
            quarters = [self._changed(row, size, random) for row, size in zip(draw.rows, sizes, strict=True)]
            sample = mosaic([quarter for quarter, _ in quarters])
            recorded_HWC = four_in_one([resize(frame, *size) for (_, frame), size in zip(quarters, sizes, strict=True)])
        if self._detector is None:
            return sample
        levels = self._detector.levels(recorded_HWC, *size)
        return {**sample, **{f"{_DETECTED}{k}": level_Chw for k, level_Chw in enumerate(levels)}}

    def _changed(
        self, row: int, size: tuple[int, int], random: np.random.Generator
    ) -> tuple[dict[str, NDArray[Any]], NDArray[np.uint8]]:
        """The row's arrays, and its view as it was recorded, at any size."""
        sample, configuration = self._sample(row, size), self._configuration.augmentation
        if configuration.paste and self._donors and random.random() < configuration.paste:
            donor = self._donors[random.integers(len(self._donors))]
            patch_HWC = cut_out(self._sample(donor.row, size).frame_HWC, donor.box)
            sample = pasted(sample, donor.label, patch_HWC, random)
        view = seen_differently(sample, configuration, random)
        sample = recorded_differently(view, configuration, random)
        sample = resolvable(sample, size, configuration.smallest_object_px)
        frame_HWC = resize(sample.frame_HWC, *size)
        arrays = {"frames_BHWC": frame_HWC, **targets(sample, self._table.labels, frame_HWC.shape[:2])}
        return arrays, view.frame_HWC

    def _sample(self, row: int, size: Size) -> Sample:
        table = self._table
        # A crop keeps its detail only when there are more pixels than the network takes.
        frame_HWC = decoded(decode_at_least, table.images[row], 2 * size[0], 2 * size[1])
        entries = dict(zip(table.labels, table.entries_NL[row].tolist(), strict=True))
        soft_L = self._soft.probabilities_NL[row]
        soft = {label: float(p) for label, p in zip(table.labels, soft_L, strict=True) if not math.isnan(p)}
        return Sample(frame_HWC, entries, table.boxes[row], soft, self._soft.hints[row])


class EvaluationFrames(Dataset[NDArray[np.uint8]]):
    """Frames exactly as the service decodes them: uint8 [H, W, 3]; raises ImageChanged."""

    def __init__(self, images: tuple[Path, ...], height: int, width: int) -> None:
        self._images, self._height, self._width = images, height, width

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, row: int) -> NDArray[np.uint8]:
        return decoded(decode_frame, self._images[row], self._height, self._width).frame_HWC


def targets(sample: Sample, labels: tuple[str, ...], frame_size: tuple[int, ...]) -> dict[str, NDArray[Any]]:
    """What is known of a sample as arrays over labels: targets, known, soft, soft_known [L] and cells [L, h, w]."""
    entries_L = np.asarray([sample.entries[label] for label in labels])
    soft_L = np.asarray([sample.soft.get(label, np.nan) for label in labels], np.float32)
    grid = (math.ceil(frame_size[0] / GRID_STRIDE), math.ceil(frame_size[1] / GRID_STRIDE))
    return {
        "targets_BL": (entries_L == PRESENT).astype(np.float32),
        "known_BL": entries_L != UNKNOWN,
        "soft_BL": np.nan_to_num(soft_L),
        # A teacher never overrides a label.
        "soft_known_BL": ~np.isnan(soft_L) & (entries_L == UNKNOWN),
        "cells_BLhw": np.stack([_label_cells(sample, label, grid) for label in labels]),
    }


def box_cells(boxes: tuple[Box, ...], grid: tuple[int, int]) -> NDArray[np.int8]:
    """Cells [h, w]: 1 where a box covers half the cell or has its centre in it, 0 where no box reaches, else -1.

    The centre's cell counts however small the box is: a distant light is smaller than a cell.
    """
    cells_hw = np.zeros(grid, np.int8)
    covers = [_cover(box, grid) for box in boxes]
    for cover_hw in covers:
        cells_hw[cover_hw > 0] = -1
    for box, cover_hw in zip(boxes, covers, strict=True):
        cells_hw[cover_hw >= 0.5] = 1
        y, x = (box[1] + box[3]) / 2 * grid[0], (box[0] + box[2]) / 2 * grid[1]
        cells_hw[min(int(y), grid[0] - 1), min(int(x), grid[1] - 1)] = 1
    return cells_hw


def _label_cells(sample: Sample, label: str, grid: tuple[int, int]) -> NDArray[np.int8]:
    if sample.entries[label] == ABSENT:
        return np.zeros(grid, np.int8)
    if sample.entries[label] == PRESENT and label in sample.boxes:
        return _around_doubtful(box_cells(sample.boxes[label], grid), _doubtful(sample, label), grid)
    return _hinted_cells(sample, label, grid)


def _hinted_cells(sample: Sample, label: str, grid: tuple[int, int]) -> NDArray[np.int8]:
    """Cells [h, w] by the teacher's boxes: 1 in sure ones, -1 in doubtful ones, 0 elsewhere; -1 where it is silent.

    Where a label is said to be present, or may well be, and no box shows where, it may be anywhere.
    """
    hints = sample.hints.get(label, ())
    sure = tuple(hint.box for hint in hints if hint.probability >= SURE)
    doubtful = _doubtful(sample, label)
    likely = sample.soft.get(label, 1.0) >= DOUBTFUL
    if not sure and (sample.entries[label] == PRESENT or (likely and not doubtful)):
        return np.full(grid, -1, np.int8)
    return _around_doubtful(box_cells(sure, grid), doubtful, grid)


def _doubtful(sample: Sample, label: str) -> tuple[Box, ...]:
    return tuple(hint.box for hint in sample.hints.get(label, ()) if DOUBTFUL <= hint.probability < SURE)


def _around_doubtful(cells_hw: NDArray[np.int8], doubtful: tuple[Box, ...], grid: tuple[int, int]) -> NDArray[np.int8]:
    """The cells, of which those outside become -1 where a doubtful box reaches."""
    return np.where((cells_hw == 0) & (box_cells(doubtful, grid) != 0), np.int8(-1), cells_hw)


def _cover(box: Box, grid: tuple[int, int]) -> NDArray[np.float64]:
    """The share of each cell that lies in the box: [h, w]."""
    rows, columns = np.arange(grid[0]), np.arange(grid[1])
    down_h = np.clip(np.minimum(rows + 1, box[3] * grid[0]) - np.maximum(rows, box[1] * grid[0]), 0, 1)
    across_w = np.clip(np.minimum(columns + 1, box[2] * grid[1]) - np.maximum(columns, box[0] * grid[1]), 0, 1)
    return np.outer(down_h, across_w)


def collate(samples: list[Mapping[str, NDArray[Any]]]) -> Batch:
    """Samples of `TrainingFrames` -> one batch."""
    stacked = {name: torch.from_numpy(np.stack([sample[name] for sample in samples])) for name in samples[0]}
    detected = tuple(stacked.pop(name) for name in sorted(stacked) if name.startswith(_DETECTED))
    return Batch(**stacked, detected=detected)


class BalancedBatches(Sampler[list[Draw]]):
    """Batches of one epoch, a function of (seed, epoch) alone, so that a run resumes at any batch of any epoch.

    A source of n frames is drawn as if it had n ** exponent, so that one large repetitive source does not dominate;
    within a source every frame is drawn equally often, give or take one. With several processes, each gets its
    contiguous share of every batch. `sizes` says at which size each batch is trained.
    """

    def __init__(
        self,
        sources: tuple[str, ...],
        exponent: float,
        batch_size: int,
        seed: int,
        rank: int = 0,
        processes: int = 1,
        sizes: FrameSizes | None = None,
    ) -> None:
        self._rows = {name: np.flatnonzero(np.asarray(sources) == name) for name in sorted(set(sources))}
        self._size, self._exponent, self._batch_size, self._seed = len(sources), exponent, batch_size, seed
        self._share = slice(rank * batch_size // processes, (rank + 1) * batch_size // processes)
        self._sizes = sizes
        self.epoch, self.first_batch = 0, 0

    def __len__(self) -> int:
        """Batches in a whole epoch; an incomplete last one is left out."""
        return max(1, self._size // self._batch_size)

    def __iter__(self) -> Iterator[list[Draw]]:
        order = self.epoch_rows(self.epoch)
        for batch in range(self.first_batch, len(self)):
            positions = range(batch * self._batch_size, (batch + 1) * self._batch_size)
            size = self._sizes.at(self._seed, self.epoch, batch, len(self)) if self._sizes else None
            draws = [Draw(self._rows_at(order, i), (self._seed, self.epoch, i), size) for i in positions]
            yield draws[self._share]

    @staticmethod
    def _rows_at(order: NDArray[np.intp], position: int) -> tuple[int, int, int, int]:
        """The row of a position and, from elsewhere in the epoch, the rows that may join it."""
        n = len(order)
        a, b, c, d = (int(order[(position + quarter * n // 4) % n]) for quarter in range(4))
        return a, b, c, d

    def epoch_rows(self, epoch: int) -> NDArray[np.intp]:
        """Rows in the order in which `epoch` draws them."""
        random = np.random.default_rng((self._seed, epoch))
        quotas = self._quotas()
        drawn = [_repeated(rows, quotas[name], random) for name, rows in self._rows.items()]
        return random.permutation(np.concatenate(drawn))

    def _quotas(self) -> dict[str, int]:
        shares = {name: len(rows) ** self._exponent for name, rows in self._rows.items()}
        total = sum(shares.values())
        return {name: max(1, round(self._size * share / total)) for name, share in shares.items()}


def _repeated(rows: NDArray[np.intp], count: int, random: np.random.Generator) -> NDArray[np.intp]:
    """`count` of `rows`, each equally often, give or take one."""
    rounds = [random.permutation(rows) for _ in range(math.ceil(count / len(rows)))]
    return np.concatenate(rounds)[:count]
