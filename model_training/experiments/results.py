"""What the finished runs say, put together: raw scores -> each change's difference from the base, and its cost.

# N = frames, L = labels
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict

from model_training.comparison.costs import ROUNDS, interleaved, time_ratio, timed_file
from model_training.comparison.statistics import METHOD, Difference, PairedScores, paired_differences
from model_training.configuration import TrainingConfiguration
from model_training.errors import CheckpointError
from model_training.experiments.plan import BASE, Arm, Plan
from model_training.experiments.runs import Done, finished, kept_opinions
from model_training.measured_run import HELD_OUT, RunResult, Scores
from model_training.metrics import Entries
from model_training.whole_files import write_whole
from service.inference.session import ModelSession

FILE: Final = "results.json"


class FrameTime(BaseModel):
    """Milliseconds of the network for a frame, and their ratio to the base's with its 95 % interval."""

    model_config = ConfigDict(frozen=True)

    ms: float
    ratio: float
    low: float
    high: float


class Outcome(BaseModel):
    """One arm against the base, over the seeds of which both are there.

    `labelled` are differences over known entries of held-out rows, `taught` over unknown ones of which the teacher is
    sure. `training_ratio` is seconds of training a frame over the base's, the mean over seeds.
    """

    model_config = ConfigDict(frozen=True)

    arm: str
    seeds: tuple[int, ...]
    labelled: tuple[Difference, ...]
    taught: tuple[Difference, ...]
    parameters: int
    training_ratio: float | None
    frame_time: FrameTime


class RunRecord(BaseModel):
    """One finished run."""

    model_config = ConfigDict(frozen=True)

    arm: str
    seed: int
    result: RunResult


class Results(BaseModel):
    """The experiments as they stand: the plan, every run, every arm against the base; the base itself comes first."""

    model_config = ConfigDict(frozen=True)

    plan: Plan
    method: str
    runs: tuple[RunRecord, ...]
    outcomes: tuple[Outcome, ...]

    def save(self, folder: Path) -> None:
        write_whole(folder / FILE, self.model_dump_json(indent=2))


FrameTimes = Mapping[str, Sequence[float]]
"""Milliseconds per frame of each arm, by name, round by round."""


Measure = Callable[[Sequence[Arm]], FrameTimes]


def gathered(plan: Plan, folder: Path, measure: Measure, resamples: int = 2000) -> Results:
    """All that the finished runs in `folder` tell; `measure` times the networks of some arms.

    Raises CheckpointError where no run of the base has finished.
    """
    done = finished(plan, folder)
    there = [(arm, seeds) for arm in plan.arms if (seeds := _paired_seeds(plan, arm, done))]
    if not there:
        raise CheckpointError(f"{folder}: no run of the base has finished; go on with --resume")
    times = measure([arm for arm, _ in there])
    outcomes = []
    for arm, seeds in there:
        pairs = [_Pair.load(plan, arm, folder, done, seed) for seed in seeds]
        # The base differs from itself by 0, whatever is drawn.
        draws = 1 if arm == plan.base else resamples
        outcomes.append(_outcome(arm, seeds, pairs, _frame_time(times[arm.name], times[BASE]), plan.labels, draws))
    records = [RunRecord(arm=arm, seed=seed, result=result) for (arm, seed), result in done.items()]
    return Results(plan=plan, method=METHOD, runs=tuple(records), outcomes=tuple(outcomes))


def frame_times(arms: Sequence[Arm], rounds: int = ROUNDS) -> FrameTimes:
    """Time a frame through the networks of `arms` in turn, on one thread of ONNX Runtime; like ones are timed once."""
    networks = {arm.name: _network(arm.configuration) for arm in arms}
    distinct = dict(zip(networks.values(), arms, strict=True))
    times = interleaved({network: _answer(arm.configuration) for network, arm in distinct.items()}, rounds)
    return {name: times[network] for name, network in networks.items()}


def _paired_seeds(plan: Plan, arm: Arm, done: Done) -> tuple[int, ...]:
    return tuple(seed for seed in plan.seeds if {(BASE, seed), (arm.name, seed)} <= done.keys())


@dataclass(frozen=True)
class _Pair:
    """An arm and the base of one seed on the same frames: as labelled, and as the teacher sees what nobody labelled."""

    labelled: PairedScores
    taught: PairedScores
    own: RunResult
    base: RunResult

    @classmethod
    def load(cls, plan: Plan, arm: Arm, folder: Path, done: Done, seed: int) -> "_Pair":
        own, base = (Scores.load(folder / each.folder(seed) / HELD_OUT) for each in (arm, plan.base))
        opinions_NL = kept_opinions(folder, seed)
        if not (np.array_equal(own.images_N, base.images_N) and opinions_NL.shape == base.entries_NL.shape):
            raise CheckpointError(
                f"{folder}: runs of seed {seed} were not measured on the same rows; start anew in another --output"
            )
        labelled, taught = (_paired(entries_NL, own, base) for entries_NL in (base.entries_NL, opinions_NL))
        return cls(labelled, taught, done[arm.name, seed], done[BASE, seed])

    @property
    def training_ratio(self) -> float | None:
        """Seconds of training a frame over the base's, None where one was not timed."""
        own, base = self.own.seconds_per_frame, self.base.seconds_per_frame
        return None if own is None or base is None else own / base


def _outcome(
    arm: Arm,
    seeds: tuple[int, ...],
    pairs: Sequence[_Pair],
    frame_time: FrameTime,
    labels: tuple[str, ...],
    resamples: int,
) -> Outcome:
    ratios = [pair.training_ratio for pair in pairs if pair.training_ratio is not None]
    return Outcome(
        arm=arm.name,
        seeds=seeds,
        labelled=_differences([pair.labelled for pair in pairs], labels, resamples),
        taught=_differences([pair.taught for pair in pairs], labels, resamples),
        parameters=pairs[0].own.parameters,
        training_ratio=float(np.mean(ratios)) if ratios else None,
        frame_time=frame_time,
    )


def _paired(entries_NL: Entries, own: Scores, base: Scores) -> PairedScores:
    return PairedScores(entries_NL, base.groups_N, own.logits_NL, base.logits_NL)


def _differences(pairs: Sequence[PairedScores], labels: tuple[str, ...], resamples: int) -> tuple[Difference, ...]:
    """Over the labels of which every seed has entries of both kinds."""
    judged = [j for j in range(len(labels)) if all({0, 1} <= set(pair.entries_NL[:, j].tolist()) for pair in pairs)]
    if not judged:
        return ()
    narrowed = [
        PairedScores(pair.entries_NL[:, judged], pair.groups_N, pair.ours_NL[:, judged], pair.theirs_NL[:, judged])
        for pair in pairs
    ]
    return tuple(paired_differences(narrowed, tuple(labels[j] for j in judged), resamples))


def _frame_time(own: Sequence[float], base: Sequence[float]) -> FrameTime:
    ratio, low, high = time_ratio(own, base)
    return FrameTime(ms=float(np.median(own)), ratio=ratio, low=low, high=high)


def _network(configuration: TrainingConfiguration) -> tuple[str, int, int, int]:
    """What the time of a frame depends on."""
    network = configuration.network
    return network.trunk, network.head_width, configuration.height, configuration.width


def _answer(configuration: TrainingConfiguration) -> Callable[[], None]:
    with TemporaryDirectory() as folder:
        artifact = timed_file(configuration, Path(folder) / "timed.onnx")
        session = ModelSession(artifact, device="cpu", intra_op_threads=1)
    frame_BHWC = np.full((1, configuration.height, configuration.width, 3), 127, np.uint8)

    def answer() -> None:
        session.run(frame_BHWC)

    return answer
