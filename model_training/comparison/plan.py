"""Which networks are trained, so that one network on all labels can be compared fairly with one network per label.

Seeds stand outermost: when a comparison is cut short, what is there is paired and covers every setting.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from model_training.configuration import TrainingConfiguration, all_errors, with_changes
from model_training.errors import CheckpointError, InvalidConfiguration
from model_training.whole_files import write_whole

Arm = Literal["joint", "separate", "same_entries", "averaged"]
Control = Literal["same_entries", "averaged"]
Budget = Literal["frames", "entries"]

JOINT: Final = "joint"
CONTROLS: Final[tuple[Control, ...]] = ("same_entries", "averaged")
ARMS: Final[dict[Arm, str]] = {
    "joint": "one network on all labels",
    "separate": "one network per label, each sees as many frames as the joint one",
    "same_entries": "one network per label, each sees as many known entries of its label as the joint one",
    "averaged": "as many joint networks as there are labels, their probabilities averaged: parameters matched",
}
CONTRASTS: Final[tuple[tuple[Arm, Arm], ...]] = (
    ("joint", "separate"),
    ("joint", "same_entries"),
    ("averaged", "separate"),
)
"""What is subtracted from what."""

_PLAN: Final = "plan.json"


@dataclass(frozen=True, slots=True)
class Cell:
    """One network to train; `member` tells networks apart that differ in nothing but their random numbers."""

    trunk: str
    fraction: float
    seed: int
    labels: tuple[str, ...]
    budget: Budget = "frames"
    member: int = 0

    @property
    def folder(self) -> Path:
        """Where its run lives, inside the comparison's folder."""
        own = f"only_{self.labels[0]}" if len(self.labels) == 1 else JOINT
        own += "_same_entries" if self.budget == "entries" else ""
        own += f"_{self.member}" if self.member else ""
        return Path("cells", self.trunk, f"fraction_{self.fraction:g}", f"seed_{self.seed}", own)

    @property
    def training_seed(self) -> int:
        """Of everything random in its training; the seed itself for all networks that are compared in pairs."""
        return int(np.random.SeedSequence((self.seed, self.member)).generate_state(1)[0]) if self.member else self.seed

    def __str__(self) -> str:
        return str(self.folder.relative_to("cells"))


@dataclass(frozen=True, slots=True)
class Setting:
    """A trunk and a share of the labelled scenes, and the arms that are compared there."""

    trunk: str
    fraction: float
    arms: tuple[Arm, ...]

    def contrasts(self) -> tuple[tuple[Arm, Arm], ...]:
        return tuple(pair for pair in CONTRASTS if set(pair) <= set(self.arms))


class StoredPlan(BaseModel):
    """A plan that is kept in the folder of the runs that it names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str]

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / _PLAN, self.model_dump_json(indent=2))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The plan of the runs in `folder`; raises CheckpointError where there is none of this version."""
        path = folder / _PLAN
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError as problem:
            raise CheckpointError(f"{folder} holds no {cls.kind}: there is no {_PLAN}; start one first") from problem
        except ValidationError as problem:
            raise CheckpointError(f"{path} is no plan of this version: {all_errors(problem)}") from problem


class Plan(StoredPlan):
    """A whole comparison; `configuration` is what all its networks have in common."""

    kind: ClassVar[str] = "comparison"

    configuration: TrainingConfiguration
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)
    fractions: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(min_length=1)
    larger_trunk: str | None = None
    controls: tuple[Control, ...] = ()
    test_sets: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="sources of test rows that are reported too; nothing is chosen by them"
    )

    @model_validator(mode="after")
    def _is_a_comparison(self) -> Self:
        labels = self.configuration.labels
        if len(labels) < 2:
            raise ValueError(f"labels are {', '.join(labels)}; with fewer than two there is nothing to share")
        if list(self.fractions) != sorted(set(self.fractions)):
            raise ValueError(f"fractions are {self.fractions}; they must be distinct and ascending")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds are {self.seeds}; they must be distinct")
        if self.larger_trunk == self.configuration.network.trunk:
            raise ValueError(f"the larger trunk is {self.larger_trunk}, as the other one is; name another or none")
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        return self.configuration.labels

    def settings(self) -> tuple[Setting, ...]:
        """Every fraction with the recipe's trunk, then the largest fraction with the larger trunk.

        Controls stand beside the largest fraction of the recipe's trunk alone.
        """
        trunk, full = self.configuration.network.trunk, self.fractions[-1]
        always: tuple[Arm, ...] = ("joint", "separate")
        smaller = [
            Setting(trunk, share, always if share < full else always + self.controls) for share in self.fractions
        ]
        return (*smaller, *([Setting(self.larger_trunk, full, always)] if self.larger_trunk else []))

    def cells(self) -> tuple[Cell, ...]:
        """Every network once, in the order in which they are trained."""
        every = (
            cell
            for seed in self.seeds
            for setting in self.settings()
            for arm in setting.arms
            for cell in self.networks(setting, arm, seed)
        )
        return tuple(dict.fromkeys(every))

    def networks(self, setting: Setting, arm: Arm, seed: int) -> tuple[Cell, ...]:
        """The networks that together answer all labels in one arm; arms may have networks in common."""
        place = (setting.trunk, setting.fraction, seed)
        if arm in ("separate", "same_entries"):
            budget: Budget = "entries" if arm == "same_entries" else "frames"
            return tuple(Cell(*place, (label,), budget) for label in self.labels)
        members = len(self.labels) if arm == "averaged" else 1
        return tuple(Cell(*place, self.labels, member=member) for member in range(members))

    def configuration_of(self, cell: Cell) -> TrainingConfiguration:
        """How one network is trained."""
        common = in_one_pass(self.configuration, cell.training_seed)
        weights = {label: weight for label, weight in common.label_weights.items() if label in cell.labels}
        return common.model_copy(
            update={
                "labels": cell.labels,
                "label_weights": weights,
                "network": common.network.model_copy(update={"trunk": cell.trunk}),
            }
        )


def in_one_pass(configuration: TrainingConfiguration, seed: int) -> TrainingConfiguration:
    """How a network is trained whose train rows stand for its whole budget, drawn by the recipe's rule for sources.

    One epoch is all of it, so that nothing is validated on the way and no network is chosen by the rows that measure
    it; and every draw counts alike.
    """
    return configuration.model_copy(update={"epochs": 1, "source_exponent": 1.0, "seed": seed})


def planned(
    configuration: TrainingConfiguration,
    seeds: int,
    fractions: tuple[float, ...],
    larger_trunk: str | None,
    controls: tuple[str, ...],
    test_sets: Mapping[str, Sequence[str]],
) -> Plan:
    """The plan with `seeds` seeds from the configuration's on, which imitates no detector.

    Raises InvalidConfiguration for what cannot be.
    """
    first = configuration.seed
    document = {
        "configuration": with_changes(configuration, {"imitation_weight": 0.0}),
        "seeds": tuple(range(first, first + seeds)),
        "fractions": fractions,
        "larger_trunk": larger_trunk,
        "controls": controls,
        "test_sets": test_sets,
    }
    try:
        return Plan.model_validate(document)
    except ValidationError as problem:
        raise InvalidConfiguration(f"this cannot be compared: {all_errors(problem)}") from problem


def arms_of(plan: Plan) -> Iterator[Arm]:
    """The arms that a plan has anywhere, in the order of `ARMS`."""
    there = {arm for setting in plan.settings() for arm in setting.arms}
    return (arm for arm in ARMS if arm in there)
