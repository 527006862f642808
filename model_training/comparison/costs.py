"""What each arm costs: parameters, milliseconds per frame, seconds of training.

# L = labels
"""

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from model_training.calibration import IDENTITY
from model_training.comparison.plan import JOINT, Arm, Cell, Plan, Setting
from model_training.configuration import TrainingConfiguration
from model_training.label_table import LabelTable
from model_training.measured_run import RunResult, parameter_count
from model_training.metrics import interval
from model_training.network import PresenceNetwork
from model_training.onnx_export import Identity, ServedNetwork, describe, export
from service.inference.artifact import Artifact
from service.inference.session import ModelSession

ROUNDS = 200

Key = TypeVar("Key", bound=Hashable)

FrameTimes = Mapping[Arm, tuple[float, ...]]
"""Milliseconds per frame of each arm, round by round."""


@dataclass(frozen=True, slots=True)
class ArmCost:
    """Of all networks of one arm together; `ratio` is its time per frame over the joint network's, with interval."""

    arm: Arm
    networks: int
    parameters: int
    ms_per_frame: float
    ratio: float
    ratio_low: float
    ratio_high: float
    frames_seen: float
    training_seconds: float | None


def parameters_of(plan: Plan, trunk: str) -> dict[int, int]:
    """Parameters of a network on all labels and of one on a single label, by their number of labels.

    Raises InvalidConfiguration where the trunk or its start cannot be had, before anything is trained.
    """
    start = plan.configuration.network.model_copy(update={"trunk": trunk})
    return {labels: parameter_count(PresenceNetwork(start, labels)) for labels in (len(plan.labels), 1)}


def frame_times(plan: Plan, setting: Setting, rounds: int = ROUNDS) -> FrameTimes:
    """Time a frame through each arm's networks in turn, on one thread of ONNX Runtime, round after round.

    Every arm answers all labels.
    """
    cells = {arm: plan.networks(setting, arm, plan.seeds[0]) for arm in setting.arms}
    with TemporaryDirectory() as folder:
        files = {size: _file_of(plan, setting.trunk, size, Path(folder)) for size in _sizes(cells)}
        # Each network is loaded by itself: four of them do not share the cache that one has to itself.
        sessions = {
            arm: [ModelSession(files[len(cell.labels)], device="cpu", intra_op_threads=1) for cell in networks]
            for arm, networks in cells.items()
        }
    frame_BHWC = np.full((1, plan.configuration.height, plan.configuration.width, 3), 127, np.uint8)
    return interleaved({arm: _answers(members, frame_BHWC) for arm, members in sessions.items()}, rounds)


def interleaved(answers: Mapping[Key, Callable[[], None]], rounds: int = ROUNDS) -> dict[Key, tuple[float, ...]]:
    """Milliseconds of every answer, all of them once a round; the first rounds, that set memory up, do not count."""
    times: dict[Key, list[float]] = {key: [] for key in answers}
    warm_up = max(1, rounds // 10)
    for _ in range(warm_up + rounds):
        for key, answer in answers.items():
            started = time.perf_counter()
            answer()
            times[key].append(1000 * (time.perf_counter() - started))
    return {key: tuple(values[warm_up:]) for key, values in times.items()}


def timed_file(configuration: TrainingConfiguration, path: Path) -> Artifact:
    """A network with random weights, which cost what trained ones do, as the file that the service would read."""
    start = configuration.network.model_copy(update={"pretrained": "none"})
    labels = configuration.labels
    served = ServedNetwork(PresenceNetwork(start, len(labels)), labels, dict.fromkeys(labels, IDENTITY))
    _export(served, configuration, path)
    return Artifact.read(path)


def time_ratio(own: Sequence[float], reference: Sequence[float]) -> tuple[float, float, float]:
    """The median of ratios within one round, and its 95 % interval: what slows a whole round down does not count."""
    ratios = np.asarray(own) / np.asarray(reference)
    low, high = interval(lambda rounds: float(np.median(ratios[rounds])), [str(i) for i in range(len(ratios))])
    return float(np.median(ratios)), low, high


def arm_costs(
    plan: Plan, setting: Setting, times: FrameTimes, results: Mapping[Cell, RunResult]
) -> tuple[ArmCost, ...]:
    """The costs of each arm that has finished for a seed; frames and seconds of training are means over such seeds."""
    return tuple(
        _arm_cost(arm, times, [[results[cell] for cell in networks] for networks in done])
        for arm in setting.arms
        if (done := _finished_seeds(plan, setting, arm, results))
    )


def _finished_seeds(
    plan: Plan, setting: Setting, arm: Arm, results: Mapping[Cell, RunResult]
) -> list[tuple[Cell, ...]]:
    seeds = (plan.networks(setting, arm, seed) for seed in plan.seeds)
    return [networks for networks in seeds if set(networks) <= results.keys()]


def _arm_cost(arm: Arm, times: FrameTimes, done: Sequence[Sequence[RunResult]]) -> ArmCost:
    ratio, low, high = time_ratio(times[arm], times[JOINT])
    return ArmCost(
        arm=arm,
        networks=len(done[0]),
        parameters=sum(result.parameters for result in done[0]),
        ms_per_frame=float(np.median(times[arm])),
        ratio=ratio,
        ratio_low=low,
        ratio_high=high,
        frames_seen=float(np.mean([sum(result.frames_seen for result in networks) for networks in done])),
        training_seconds=_mean_seconds(done),
    )


def _mean_seconds(done: Sequence[Sequence[RunResult]]) -> float | None:
    """Over the seeds all of whose networks could be timed."""
    seconds = [[result.training_seconds for result in networks] for networks in done]
    timed = [sum(value for value in each if value is not None) for each in seconds if None not in each]
    return float(np.mean(timed)) if timed else None


def _sizes(cells: Mapping[Arm, Sequence[Cell]]) -> set[int]:
    return {len(cell.labels) for networks in cells.values() for cell in networks}


def _file_of(plan: Plan, trunk: str, labels: int, folder: Path) -> Artifact:
    network = plan.configuration.network.model_copy(update={"trunk": trunk})
    changes = {"labels": plan.labels[:labels], "network": network}
    return timed_file(plan.configuration.model_copy(update=changes), folder / f"{labels}.onnx")


def _export(served: ServedNetwork, configuration: TrainingConfiguration, path: Path) -> None:
    nobody = LabelTable(configuration.labels, np.empty((0, len(configuration.labels)), np.int8), *[()] * 6)
    thresholds = dict.fromkeys(configuration.labels, 0.5)
    export(served, describe(served, configuration, nobody, thresholds, Identity("timed", "0", "unstated")), path)


def _answers(members: Sequence[ModelSession], frame_BHWC: NDArray[np.uint8]) -> Callable[[], None]:
    def answer() -> None:
        for session in members:
            session.run(frame_BHWC)

    return answer
