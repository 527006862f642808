"""What the finished networks of a comparison say, put together: raw scores -> differences and costs, as one document.

# N = frames, L = labels
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy.special import expit

from model_training.comparison.costs import ArmCost, FrameTimes, arm_costs
from model_training.comparison.plan import Arm, Cell, Plan, Setting
from model_training.comparison.runs import TEST, finished
from model_training.comparison.statistics import METHOD, Difference, PairedScores, paired_differences
from model_training.errors import CheckpointError
from model_training.measured_run import HELD_OUT, RunResult, Scores
from model_training.whole_files import write_whole

FILE: Final = "results.json"
HELD_OUT_ROWS: Final = "held out"

Done = Mapping[Cell, RunResult]
Measure = Callable[[Setting], FrameTimes]


class Contrast(BaseModel):
    """Two arms in one setting, on held-out rows ("held out") or on a test set."""

    model_config = ConfigDict(frozen=True)

    rows: str
    trunk: str
    fraction: float
    ours: Arm
    theirs: Arm
    seeds: tuple[int, ...]
    differences: tuple[Difference, ...]


class SettingCosts(BaseModel):
    """What each arm costs in one setting."""

    model_config = ConfigDict(frozen=True)

    trunk: str
    fraction: float
    arms: tuple[ArmCost, ...]


class NetworkResult(BaseModel):
    """One trained network."""

    model_config = ConfigDict(frozen=True)

    cell: Cell
    result: RunResult


class Results(BaseModel):
    """A comparison as it stands: the plan, every network, every contrast with its interval, every cost."""

    model_config = ConfigDict(frozen=True)

    plan: Plan
    method: str
    planned: int
    networks: tuple[NetworkResult, ...]
    contrasts: tuple[Contrast, ...]
    costs: tuple[SettingCosts, ...]

    def save(self, folder: Path) -> None:
        write_whole(folder / FILE, self.model_dump_json(indent=2))


def gathered(plan: Plan, folder: Path, measure: Measure, resamples: int = 2000) -> Results:
    """All that the finished networks in `folder` tell; a contrast counts the seeds of which all its networks are there.

    `measure` times a setting's arms. Raises CheckpointError where no two arms can be compared yet.
    """
    done = finished(plan, folder)
    contrasts = [*_held_out_contrasts(plan, folder, done, resamples), *_test_contrasts(plan, folder, done, resamples)]
    if not contrasts:
        raise CheckpointError(
            f"{folder}: {len(done)} of {len(plan.cells())} networks have finished, no two arms of one seed among them; "
            "go on with --resume"
        )
    costs = [
        SettingCosts(trunk=s.trunk, fraction=s.fraction, arms=arm_costs(plan, s, measure(s), done))
        for s in plan.settings()
        if any(_seeds(plan, done, s, arms) for arms in s.contrasts())
    ]
    return Results(
        plan=plan,
        method=METHOD,
        planned=len(plan.cells()),
        networks=tuple(NetworkResult(cell=cell, result=result) for cell, result in done.items()),
        contrasts=tuple(contrasts),
        costs=tuple(costs),
    )


def _held_out_contrasts(plan: Plan, folder: Path, done: Done, resamples: int) -> Iterator[Contrast]:
    for setting, arms, seeds in _comparable(plan, done):
        answers = [[_answers(plan, folder, setting, arm, seed, HELD_OUT) for arm in arms] for seed in seeds]
        yield _contrast(HELD_OUT_ROWS, setting, arms, seeds, [_pair(*both) for both in answers], plan.labels, resamples)


def _test_contrasts(plan: Plan, folder: Path, done: Done, resamples: int) -> Iterator[Contrast]:
    """For each test set, over the labels that have both kinds of entries there."""
    for setting, arms, seeds in _comparable(plan, done) if plan.test_sets else ():
        answers = [[_answers(plan, folder, setting, arm, seed, TEST) for arm in arms] for seed in seeds]
        for name, sources in plan.test_sets.items():
            chosen = [[one.of_sources(sources) for one in both] for both in answers]
            judged = [j for j in range(len(plan.labels)) if {0, 1} <= set(chosen[0][0].entries_NL[:, j].tolist())]
            pairs = [_pair(*(one.of_labels(judged) for one in both)) for both in chosen]
            if judged:
                yield _contrast(name, setting, arms, seeds, pairs, tuple(plan.labels[j] for j in judged), resamples)


def _comparable(plan: Plan, done: Done) -> Iterator[tuple[Setting, tuple[Arm, Arm], tuple[int, ...]]]:
    for setting in plan.settings():
        for arms in setting.contrasts():
            if seeds := _seeds(plan, done, setting, arms):
                yield setting, arms, seeds


def _seeds(plan: Plan, done: Done, setting: Setting, arms: Sequence[Arm]) -> tuple[int, ...]:
    """Seeds of which every network of `arms` has finished."""
    needed = {seed: {cell for arm in arms for cell in plan.networks(setting, arm, seed)} for seed in plan.seeds}
    return tuple(seed for seed, cells in needed.items() if cells <= done.keys())


def _contrast(
    rows: str,
    setting: Setting,
    arms: tuple[Arm, Arm],
    seeds: tuple[int, ...],
    pairs: Sequence[PairedScores],
    labels: tuple[str, ...],
    resamples: int,
) -> Contrast:
    differences = paired_differences(pairs, labels, resamples)
    return Contrast(
        rows=rows,
        trunk=setting.trunk,
        fraction=setting.fraction,
        ours=arms[0],
        theirs=arms[1],
        seeds=seeds,
        differences=tuple(differences),
    )


@dataclass(frozen=True)
class _Answers:
    """What the networks of one arm say together, and the rows that they say it of."""

    probabilities_NL: NDArray[np.float64]
    entries_NL: NDArray[np.int8]
    rows: Scores

    def of_labels(self, columns: Sequence[int]) -> "_Answers":
        return replace(self, probabilities_NL=self.probabilities_NL[:, columns], entries_NL=self.entries_NL[:, columns])

    def of_sources(self, sources: Sequence[str]) -> "_Answers":
        """The rows that one of `sources` knows; those of a frame that several know are joined by "+"."""
        chosen_N = np.array([not set(sources).isdisjoint(known.split("+")) for known in self.rows.sources_N])
        return _Answers(self.probabilities_NL[chosen_N], self.entries_NL[chosen_N], self.rows.of_rows(chosen_N))


def _answers(plan: Plan, folder: Path, setting: Setting, arm: Arm, seed: int, file: str) -> _Answers:
    """An arm's probabilities and entries of all labels; of several networks that answer a label, their mean."""
    cells = plan.networks(setting, arm, seed)
    scored = [(cell, Scores.load(folder / cell.folder / file)) for cell in cells]
    # In float64: float32 would round sure answers to 1 alike, and lose their order.
    said = {
        label: [
            expit(s.logits_NL[:, cell.labels.index(label)].astype(np.float64))
            for cell, s in scored
            if label in cell.labels
        ]
        for label in plan.labels
    }
    entries = {label: s.entries_NL[:, cell.labels.index(label)] for cell, s in scored for label in cell.labels}
    return _Answers(
        np.stack([np.mean(said[label], axis=0) for label in plan.labels], axis=1),
        np.stack([entries[label] for label in plan.labels], axis=1),
        scored[0][1],
    )


def _pair(ours: _Answers, theirs: _Answers) -> PairedScores:
    if not (
        np.array_equal(ours.rows.images_N, theirs.rows.images_N) and np.array_equal(ours.entries_NL, theirs.entries_NL)
    ):
        raise CheckpointError("networks of one seed were not measured on the same rows; start anew in another --output")
    return PairedScores(ours.entries_NL, ours.rows.groups_N, ours.probabilities_NL, theirs.probabilities_NL)
