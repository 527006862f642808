"""A network or a model file on rows of the table -> figures per label, with intervals.

# N = frames, L = labels, H/W = frame height/width in pixels
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from model_training.dataset import EvaluationFrames
from model_training.label_table import PRESENT, LabelTable
from model_training.metrics import (
    Floats,
    Measured,
    average_precision,
    brier_score,
    calibration_gap,
    decidable,
    expected_calibration_error,
    f1_score,
    interval,
    label_average_precisions,
    mean_average_precision,
    measured,
)
from model_training.network import PresenceNetwork
from model_training.tracking import Tracking, untracked
from service.inference.artifact import Figure
from service.inference.session import ModelSession, Outputs

BATCH_FRAMES = 16
CALIBRATION_GAP = "calibration_gap"

Metric = Callable[[NDArray[np.bool_], Floats], float]


def network_logits(
    network: PresenceNetwork,
    images: Sequence[Path],
    size: tuple[int, int],
    device: torch.device,
    tracking: Tracking = untracked,
) -> NDArray[np.float32]:
    """Raw logits [N, L] in float32, of frames decoded as the service does; the network is left in evaluation mode."""
    network.eval()
    loader = _loader(images, size)
    with torch.inference_mode():
        batches = [
            network(frames.to(device)).logits_BL.cpu() for frames in tracking(loader, "asking the network", len(loader))
        ]
    return torch.cat(batches).numpy().astype(np.float32)


def session_outputs(
    session: ModelSession,
    images: Sequence[Path],
    size: tuple[int, int],
    description: str = "",
    tracking: Tracking = untracked,
) -> Iterable[Outputs]:
    """What an exported file answers, as the service does, in batches of at most `BATCH_FRAMES`."""
    loader = _loader(images, size)
    return tracking((session.run(frames.numpy()) for frames in loader), description, len(loader))


def session_probabilities(
    session: ModelSession,
    images: Sequence[Path],
    size: tuple[int, int],
    description: str = "",
    tracking: Tracking = untracked,
) -> NDArray[np.float32]:
    """Calibrated probabilities [N, L] of an exported file, as the service answers them."""
    outputs = session_outputs(session, images, size, description, tracking)
    return np.concatenate([some.probabilities_BL for some in outputs])


@dataclass(frozen=True, eq=False, slots=True)
class Judged:
    """The known entries of one label in one test set: row numbers into the table, truth, and what scored them."""

    test_set: str
    label: str
    rows_N: NDArray[np.intp]
    present_N: NDArray[np.bool_]
    scores_N: Floats
    groups_N: tuple[str, ...]


def judged(table: LabelTable, scores_NL: Floats, test_sets: Mapping[str, Sequence[str]]) -> Iterator[Judged]:
    """Every test set and label that has both kinds of known entries there, with a score (not NaN)."""
    for name, sources in test_sets.items():
        rows = rows_from(table, sources)
        for j, label in enumerate(table.labels):
            known = rows[(table.entries_NL[rows, j] >= 0) & ~np.isnan(scores_NL[rows, j])]
            present_N = table.entries_NL[known, j] == 1
            if 0 < present_N.sum() < len(present_N):
                groups = tuple(table.groups[row] for row in known)
                yield Judged(name, label, known, present_N, scores_NL[known, j], groups)


def figures(
    table: LabelTable,
    probabilities_NL: Floats,
    thresholds: Mapping[str, float],
    test_sets: Mapping[str, Sequence[str]],
    resamples: int = 1000,
) -> list[Figure]:
    """Every metric for every test set and label that has both kinds of known entries there.

    `test_sets` maps a name to the sources it consists of; a frame that several sources know belongs to the sets of
    each. The label "mean" is the mean of average precisions over the labels of the set. Where no resample of its scenes
    tells anything, an interval is the metric's whole range.
    """
    return [
        figure
        for name, rows in ((name, rows_from(table, sources)) for name, sources in test_sets.items())
        for figure in set_figures(table.rows(rows), probabilities_NL[rows], thresholds, name, resamples)
    ]


def set_figures(
    table: LabelTable, probabilities_NL: Floats, thresholds: Mapping[str, float], name: str, resamples: int = 1000
) -> Iterable[Figure]:
    """The figures of all rows of `table` as one test set called `name`."""
    entries_NL, groups = table.entries_NL, table.groups
    labels = decidable(entries_NL)
    for j in labels:
        label = table.labels[j]
        for metric, function in _metrics(thresholds[label]).items():
            found = measured(function, entries_NL[:, j], probabilities_NL[:, j], groups, resamples)
            yield _figure(name, label, metric, found)
    if labels:
        yield _mean_figure(entries_NL[:, labels], probabilities_NL[:, labels], groups, name, resamples)


def rows_from(table: LabelTable, sources: Sequence[str]) -> NDArray[np.intp]:
    """Numbers of the rows that one of `sources` knows."""
    return np.array([row for row, source in enumerate(table.sources) if _is_from(source, sources)], np.intp)


def _is_from(source: str, sources: Sequence[str]) -> bool:
    """Whether one of `sources` knows a frame; those of a merged frame are joined by "+"."""
    return source in sources or not set(source.split("+")).isdisjoint(sources)


def _metrics(threshold: float) -> dict[str, Metric]:
    return {
        "average_precision": average_precision,
        "expected_calibration_error": expected_calibration_error,
        "brier_score": brier_score,
        CALIBRATION_GAP: calibration_gap,
        "f1_at_threshold": partial(_f1_at, threshold),
    }


def _f1_at(threshold: float, present_N: NDArray[np.bool_], scores_N: Floats) -> float:
    return f1_score(present_N, scores_N >= threshold)


def _mean_figure(
    entries_NL: NDArray[np.int8], scores_NL: Floats, groups: Sequence[str], test_set: str, resamples: int
) -> Figure:
    """The mean average precision; scenes are resampled once for all labels together."""

    # A draw of scenes without a positive of some label would be a mean over other labels: it is NaN and left out.
    def mean_of_all(rows: NDArray[np.intp]) -> float:
        return float(np.mean(label_average_precisions(entries_NL[rows], scores_NL[rows])))

    known_NL = entries_NL >= 0
    scenes = {group for group, known_L in zip(groups, known_NL, strict=True) if known_L.any()}
    found = Measured(
        mean_average_precision(entries_NL, scores_NL),
        *interval(mean_of_all, groups, resamples),
        n=int(known_NL.sum()),
        positives=int((entries_NL == PRESENT).sum()),
        scenes=len(scenes),
    )
    return _figure(test_set, "mean", "average_precision", found)


def _figure(test_set: str, label: str, metric: str, found: Measured) -> Figure:
    low, high = found.low, found.high
    if np.isnan(low):  # JSON knows none
        low, high = -1.0 if metric == CALIBRATION_GAP else 0.0, 1.0
    return Figure(
        test_set=test_set,
        label=label,
        metric=metric,
        value=round(found.value, 4),
        low=round(low, 4),
        high=round(high, 4),
        n=found.n,
        positives=found.positives,
        scenes=found.scenes,
    )


def _loader(images: Sequence[Path], size: tuple[int, int]) -> DataLoader[torch.Tensor]:
    frames = EvaluationFrames(tuple(images), *size)
    return DataLoader(frames, batch_size=BATCH_FRAMES, collate_fn=_stacked)  # type: ignore[arg-type]


def _stacked(frames: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
    # A decoded frame may be read-only memory of the decoder, which torch warns about; stacking copies.
    return torch.from_numpy(np.stack(frames))
