"""What each arm costs: parameters, milliseconds per frame, seconds of training.

# L = labels
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import numpy as np
from numpy.typing import NDArray

from model_training.calibration import IDENTITY
from model_training.comparison.plan import JOINT, Arm, Cell, Plan, Setting
from model_training.comparison.runs import CellResult, parameter_count
from model_training.configuration import TrainingConfiguration
from model_training.label_table import LabelTable
from model_training.metrics import interval
from model_training.network import PresenceNetwork
from model_training.onnx_export import Identity, ServedNetwork, describe, export
from service.inference.artifact import Artifact
from service.inference.session import ModelSession

ROUNDS = 200

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

    The networks have random weights, which cost what trained ones do. Every arm answers all labels.
    """
    cells = {arm: plan.networks(setting, arm, plan.seeds[0]) for arm in setting.arms}
    with TemporaryDirectory() as folder:
        files = {size: _file(plan, setting.trunk, size, Path(folder)) for size in _sizes(cells)}
        # Each network is loaded by itself: four of them do not share the cache that one has to itself.
        sessions = {
            arm: [ModelSession(files[len(cell.labels)], device="cpu", intra_op_threads=1) for cell in networks]
            for arm, networks in cells.items()
        }
    frame_BHWC = np.full((1, plan.configuration.height, plan.configuration.width, 3), 127, np.uint8)
    return _interleaved({arm: _answers(members, frame_BHWC) for arm, members in sessions.items()}, rounds)


def arm_costs(
    plan: Plan, setting: Setting, times: FrameTimes, results: Mapping[Cell, CellResult]
) -> tuple[ArmCost, ...]:
    """The costs of each arm of a setting; frames and seconds of training are means over the finished seeds."""
    return tuple(_arm_cost(plan, setting, arm, times, results) for arm in setting.arms)


def _arm_cost(plan: Plan, setting: Setting, arm: Arm, times: FrameTimes, results: Mapping[Cell, CellResult]) -> ArmCost:
    seeds = [plan.networks(setting, arm, seed) for seed in plan.seeds]
    done = [[results[cell] for cell in cells] for cells in seeds if all(cell in results for cell in cells)]
    own, joint = (np.asarray(times[of]) for of in (arm, JOINT))
    low, high = interval(lambda rounds: _ratio(own[rounds], joint[rounds]), [str(i) for i in range(len(own))])
    seconds = [[result.training_seconds for result in networks] for networks in done]
    whole = [sum(cast("list[float]", each)) for each in seconds if None not in each]
    return ArmCost(
        arm=arm,
        networks=len(seeds[0]),
        parameters=sum(result.parameters for result in done[0]),
        ms_per_frame=float(np.median(own)),
        ratio=_ratio(own, joint),
        ratio_low=low,
        ratio_high=high,
        frames_seen=float(np.mean([sum(result.frames_seen for result in networks) for networks in done])),
        training_seconds=float(np.mean(whole)) if whole else None,
    )


def _ratio(own: NDArray[np.float64], joint: NDArray[np.float64]) -> float:
    """The median of ratios within one round: what slows a whole round down does not count."""
    return float(np.median(own / joint))


def _sizes(cells: Mapping[Arm, Sequence[Cell]]) -> set[int]:
    return {len(cell.labels) for networks in cells.values() for cell in networks}


def _file(plan: Plan, trunk: str, labels: int, folder: Path) -> Artifact:
    """A network with random weights as the file that the service would read."""
    start = plan.configuration.network.model_copy(update={"trunk": trunk, "pretrained": "none"})
    keys = plan.labels[:labels]
    configuration = plan.configuration.model_copy(update={"labels": keys, "network": start})
    served = ServedNetwork(PresenceNetwork(start, labels), keys, dict.fromkeys(keys, IDENTITY))
    path = folder / f"{labels}.onnx"
    _export(served, configuration, path)
    return Artifact.read(path)


def _export(served: ServedNetwork, configuration: TrainingConfiguration, path: Path) -> None:
    nobody = LabelTable(configuration.labels, np.empty((0, len(configuration.labels)), np.int8), *[()] * 6)
    thresholds = dict.fromkeys(configuration.labels, 0.5)
    export(served, describe(served, configuration, nobody, thresholds, Identity("timed", "0", "unstated")), path)


def _answers(members: Sequence[ModelSession], frame_BHWC: NDArray[np.uint8]) -> Callable[[], None]:
    def answer() -> None:
        for session in members:
            session.run(frame_BHWC)

    return answer


def _interleaved(arms: Mapping[Arm, Callable[[], None]], rounds: int) -> FrameTimes:
    """Every arm once a round; the first rounds, in which memory is set up, do not count."""
    times: dict[Arm, list[float]] = {arm: [] for arm in arms}
    warm_up = max(1, rounds // 10)
    for _ in range(warm_up + rounds):
        for arm, answer in arms.items():
            started = time.perf_counter()
            answer()
            times[arm].append(1000 * (time.perf_counter() - started))
    return {arm: tuple(values[warm_up:]) for arm, values in times.items()}
