"""A network or a model file on rows of the table -> figures per label, with intervals.

# N = frames, L = labels, H/W = frame height/width in pixels
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from model_training.dataset import EvaluationFrames
from model_training.label_table import LabelTable
from model_training.metrics import (
    Floats,
    average_precision,
    brier_score,
    expected_calibration_error,
    f1_score,
    measured,
)
from model_training.network import PresenceNetwork
from service.inference.artifact import Figure
from service.inference.session import ModelSession

Metric = Callable[[NDArray[np.bool_], Floats], float]


def network_logits(
    network: PresenceNetwork,
    images: Sequence[str | object],
    size: tuple[int, int],
    device: torch.device,
    workers: int = 0,
) -> NDArray[np.float32]:
    """Raw logits [N, L] in float32, of frames decoded as the service does; the network is left in evaluation mode."""
    network.eval()
    with torch.inference_mode():
        batches = [network(frames.to(device)).logits_BL.cpu() for frames in _loader(images, size, workers)]
    return torch.cat(batches).numpy().astype(np.float32)


def session_probabilities(
    session: ModelSession, images: Sequence[object], size: tuple[int, int], workers: int = 0
) -> NDArray[np.float32]:
    """Calibrated probabilities [N, L] of an exported file, as the service answers them."""
    batches = [session.run(frames.numpy()).probabilities_BL for frames in _loader(images, size, workers)]
    return np.concatenate(batches)


def figures(
    table: LabelTable,
    probabilities_NL: Floats,
    thresholds: Mapping[str, float],
    test_sets: Mapping[str, Sequence[str]],
    resamples: int = 1000,
) -> list[Figure]:
    """Every metric for every test set and label that has both kinds of known entries there.

    `test_sets` maps a name to the sources it consists of. The label "mean" is the mean of average precisions over the
    labels of the set.
    """
    return [
        figure
        for name, sources in test_sets.items()
        for figure in _figures_of_set(table, probabilities_NL, thresholds, name, sources, resamples)
    ]


def _figures_of_set(
    table: LabelTable,
    probabilities_NL: Floats,
    thresholds: Mapping[str, float],
    name: str,
    sources: Sequence[str],
    resamples: int,
) -> Iterable[Figure]:
    rows = np.flatnonzero(np.isin(table.sources, list(sources)))
    entries_NL, scores_NL = table.entries_NL[rows], probabilities_NL[rows]
    groups = [table.groups[row] for row in rows]
    judged = [j for j in range(len(table.labels)) if {0, 1} <= set(entries_NL[:, j].tolist())]
    for j in judged:
        label = table.labels[j]
        for metric, function in _metrics(thresholds[label]).items():
            m = measured(function, entries_NL[:, j], scores_NL[:, j], groups, resamples)
            yield _figure(name, label, metric, (m.value, m.low, m.high), m.n, m.positives)
    if judged:
        known_NL = entries_NL[:, judged] >= 0
        interval = _mean_interval(entries_NL[:, judged], scores_NL[:, judged], groups, resamples)
        yield _figure(
            name, "mean", "average_precision", interval, int(known_NL.sum()), int((entries_NL[:, judged] == 1).sum())
        )


def _metrics(threshold: float) -> dict[str, Metric]:
    return {
        "average_precision": average_precision,
        "expected_calibration_error": expected_calibration_error,
        "brier_score": brier_score,
        "f1_at_threshold": partial(_f1_at, threshold),
    }


def _f1_at(threshold: float, present_N: NDArray[np.bool_], scores_N: Floats) -> float:
    return f1_score(present_N, scores_N >= threshold)


def _mean_interval(
    entries_NL: NDArray[np.int8], scores_NL: Floats, groups: Sequence[str], resamples: int
) -> tuple[float, float, float]:
    """The mean average precision with its interval; scenes are resampled once for all labels together."""
    value = _mean_average_precision(entries_NL, scores_NL)
    random = np.random.default_rng(0)
    members = [np.flatnonzero(np.asarray(groups) == group) for group in np.unique(groups)]
    values = []
    for _ in range(resamples):
        rows = np.concatenate([members[g] for g in random.integers(len(members), size=len(members))])
        values.append(_mean_average_precision(entries_NL[rows], scores_NL[rows]))
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return value, float(low), float(high)


def _mean_average_precision(entries_NL: NDArray[np.int8], scores_NL: Floats) -> float:
    values = []
    for j in range(entries_NL.shape[1]):
        known = entries_NL[:, j] >= 0
        values.append(average_precision(entries_NL[known, j] == 1, scores_NL[known, j]))
    return float(np.nanmean(values)) if not np.all(np.isnan(values)) else float("nan")


def _figure(
    test_set: str, label: str, metric: str, interval: tuple[float, float, float], n: int, positives: int
) -> Figure:
    value, low, high = (round(number, 4) for number in interval)
    return Figure(
        test_set=test_set, label=label, metric=metric, value=value, low=low, high=high, n=n, positives=positives
    )


def _loader(images: Sequence[object], size: tuple[int, int], workers: int) -> DataLoader[torch.Tensor]:
    frames = EvaluationFrames(tuple(images), *size)  # type: ignore[arg-type]
    return DataLoader(frames, batch_size=16, num_workers=workers)  # type: ignore[arg-type]
