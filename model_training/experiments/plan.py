"""A plan in TOML -> the arms to train: a base, and one more for each change to it.

    recipe = "street"               # what the base starts from
    seeds = [0, 1, 2]

    [base]
    set = { height = 192, width = 288, epochs = 3 }

    [[change]]
    name = "no mosaics"
    why = "four frames in one: objects at more sizes"
    set = { augmentation.mosaic = 0.0 }

    [[change]]
    name = "no teacher"
    why = "its scores and boxes stand for entries that nobody labelled"
    teacher = "none"

Seeds stand outermost: when the arms are cut short, what is there is paired with the base of its seed.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model_training.comparison.plan import StoredPlan, in_one_pass
from model_training.configuration import TrainingConfiguration, all_errors, with_changes
from model_training.errors import InvalidConfiguration

Teacher = Literal["none", "scores", "boxes"]

TEACHERS: Final[tuple[Teacher, ...]] = ("none", "scores", "boxes")
"""What a teacher says, each with all that stands before it."""
BASE: Final = "base"
SHARED: Final = ("labels", "seed", "epochs", "validation", "calibration")
"""Settings that all arms have in common, so that they see as many of the same frames and are measured on the same."""


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Base(_Declared):
    """What all changes are measured against: the recipe with other values."""

    values: dict[str, Any] = Field(default_factory=dict, alias="set")
    teacher: Teacher = "boxes"


class Change(_Declared):
    """The base with other values, or told less by the teacher."""

    name: str = Field(min_length=1, max_length=60)
    why: str = Field(min_length=1)
    values: dict[str, Any] = Field(default_factory=dict, alias="set")
    teacher: Teacher | None = None


class Declaration(_Declared):
    """A plan's file."""

    recipe: str = "street"
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)
    base: Base = Base()
    changes: tuple[Change, ...] = Field(min_length=1, alias="change")


class Arm(BaseModel):
    """One way to train; `changes` are its values that differ from the base's, by dotted key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    why: str
    changes: dict[str, Any]
    teacher: Teacher
    configuration: TrainingConfiguration

    def folder(self, seed: int) -> Path:
        """Where its run of one seed lives, inside the experiments' folder."""
        return Path(f"seed_{seed}", _slug(self.name))

    def configuration_of(self, seed: int) -> TrainingConfiguration:
        return in_one_pass(self.configuration, seed)


class Plan(StoredPlan):
    """All arms, the base first, and the seeds that each is trained with."""

    kind: ClassVar[str] = "experiments"

    seeds: tuple[int, ...]
    arms: tuple[Arm, ...]

    @property
    def base(self) -> Arm:
        return self.arms[0]

    @property
    def changed(self) -> tuple[Arm, ...]:
        return self.arms[1:]

    @property
    def labels(self) -> tuple[str, ...]:
        return self.base.configuration.labels


def read(path: Path) -> Declaration:
    """The plan in a TOML file; raises InvalidConfiguration naming every unknown key and bad value."""
    try:
        return Declaration.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise InvalidConfiguration(f"{path} is no TOML: {problem}") from problem
    except ValidationError as problem:
        raise InvalidConfiguration(f"{path}: {all_errors(problem)}") from problem


def planned(declaration: Declaration, recipe: TrainingConfiguration, said: Teacher) -> Plan:
    """The arms of a declaration, from its recipe on the labels of the data; `said` is what the teacher can say.

    Raises InvalidConfiguration where a change changes nothing, or what all arms share, and for names alike.
    """
    values = _dotted(declaration.base.values)
    if "labels" in values:
        raise InvalidConfiguration("base: the labels are those of DATA; name them in its TOML file")
    base = Arm(
        name=BASE,
        why="what the changes are made to",
        changes=values,
        teacher=_least(declaration.base.teacher, said),
        configuration=with_changes(recipe, values),
    )
    arms = (base, *(_arm(base, change, said) for change in declaration.changes))
    _check_distinct([_slug(arm.name) for arm in arms], "change names, letters and digits alone,")
    _check_distinct(declaration.seeds, "seeds")
    return Plan(seeds=declaration.seeds, arms=arms)


def _arm(base: Arm, change: Change, said: Teacher) -> Arm:
    values = _dotted(change.values)
    if shared := sorted({key.partition(".")[0] for key in values} & set(SHARED)):
        raise InvalidConfiguration(
            f"change {change.name!r} sets {', '.join(shared)}; all arms share {', '.join(SHARED)}: set it under [base]"
        )
    try:
        configuration = with_changes(base.configuration, values)
    except InvalidConfiguration as problem:
        raise InvalidConfiguration(f"change {change.name!r}: {problem}") from problem
    teacher = _least(change.teacher or base.teacher, said)
    if (configuration, teacher) == (base.configuration, base.teacher):
        raise InvalidConfiguration(
            f"change {change.name!r} changes nothing: its values are the base's, whose teacher says: {base.teacher}"
        )
    return Arm(name=change.name, why=change.why, changes=values, teacher=teacher, configuration=configuration)


def _least(wanted: Teacher, said: Teacher) -> Teacher:
    return min(wanted, said, key=TEACHERS.index)


def _dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Tables within tables as one, whose keys have dots.

    >>> _dotted({"augmentation": {"crop": 0.5}, "network.trunk": "resnet18"})
    {'augmentation.crop': 0.5, 'network.trunk': 'resnet18'}
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _check_distinct(values: "tuple[int, ...] | list[str]", what: str) -> None:
    if len(set(values)) != len(values) or "" in values:
        raise InvalidConfiguration(f"{what} are {', '.join(map(str, values))}; they must be distinct and not empty")
