"""The data of a run: which labels, from which sources, in one TOML file.

    labels = ["pedestrian", "car", "stop_sign", "traffic_light"]
    on_problem = "skip"

    [[sources]]
    format = "table"
    path = "streetframes"

    [[sources]]
    format = "coco"
    name = "coco_train"
    annotations = "annotations/instances_train2017.json"
    images = "train2017"
    licence = "CC-BY-4.0"

    [[sources]]
    format = "yolo"
    data = "stop_signs/data.yaml"
    classes = { Sign = "stop_sign", Pole = "ignore" }
    exhaustive = ["stop_sign"]

Relative paths start at the TOML file's folder. A label that a source does not know is unknown in its frames, so adding
one is a matter of adding it to `labels`.
"""

import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from model_training.configuration import all_errors
from model_training.errors import InvalidConfiguration
from model_training.label_table import Identity, LabelTable, label_table
from model_training.sources import bdd100k, coco, csv_table, voc, yolo
from model_training.sources.annotated_frame import AnnotatedFrame
from model_training.sources.class_mapping import BDD100K, COCO, COMMON, Classes, ClassMapping
from model_training.sources.declaration import Declaration
from model_training.sources.image_folders import ImageFolders, Match
from model_training.sources.problems import OnProblem, Problems

DEFAULT_LABELS = ("pedestrian", "car", "stop_sign", "traffic_light")


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str | Path) else value


Folders = Annotated[tuple[Path, ...], BeforeValidator(_listed), Field(min_length=1)]
Meanings = str | tuple[str, ...]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TableSource(_Strict):
    """A folder with labels.csv and perhaps boxes.csv; its columns say source, licence, split and group per frame."""

    format: Literal["table"]
    path: Path
    name: str | None = None
    split: Literal["train", "test"] | None = None
    licence: str = "unstated"

    def frames(
        self,
        root: Path,
        labels: Sequence[str],  # noqa: ARG002 - one signature for all sources; a table's columns are its labels
        problems: Problems,
    ) -> Iterator[AnnotatedFrame]:
        """The source's frames; what its rows do not say is taken from here."""
        folder = root / self.path
        defaults = csv_table.Defaults(self.name or folder.resolve().name, self.licence, self.split)
        return csv_table.frames(folder, problems, defaults)


class _ClassSource(_Strict):
    """What all formats with objects and classes have in common.

    `exhaustive` names the labels whose every object is annotated; left out it means, for COCO and BDD100K, all labels
    that the classes in the file show, and for VOC and YOLO none. `classes` goes over the format's own table. `group`
    is a pattern that finds a scene's name in an image's name. `match = "stem"` finds images whose suffix has changed.
    """

    name: str | None = None
    exhaustive: tuple[str, ...] | None = None
    classes: dict[str, Meanings] = Field(default_factory=dict)
    group: str | None = None
    split: Literal["train", "test"] | None = None
    licence: str = "unstated"
    match: Match = "name"

    @field_validator("group")
    @classmethod
    def _is_pattern(cls, group: str | None) -> str | None:
        try:
            re.compile(group or "")
        except re.error as error:
            raise ValueError(f"{group!r} is no regular expression: {error}") from error
        return group

    def declaration(self, defaults: Classes, labels: Sequence[str], *, complete: bool, name: str) -> Declaration:
        """What holds for every frame; labels declared exhaustive that are not in this run are left out."""
        mapping = ClassMapping(defaults, self.classes, labels)
        mapping.check_known(self.exhaustive or (), self.name or name)
        return Declaration(
            source=self.name or name,
            classes=mapping,
            exhaustive=frozenset(self.exhaustive or ()) & mapping.labels,
            complete=complete and self.exhaustive is None,
            split=self.split,
            licence=self.licence,
            group=re.compile(self.group) if self.group else None,
        )


class CocoSource(_ClassSource):
    """A COCO instances file and the folder or folders with its images."""

    format: Literal["coco"]
    annotations: Path
    images: Folders

    def frames(self, root: Path, labels: Sequence[str], problems: Problems) -> Iterator[AnnotatedFrame]:
        """The source's frames."""
        declaration = self.declaration(COCO, labels, complete=True, name=self.annotations.stem)
        images = _image_folders(root, self.images, self.match)
        return coco.frames(_existing_file(root, self.annotations), images, declaration, problems)


class Bdd100kSource(_ClassSource):
    """A Scalabel JSON file and the folder or folders with its images."""

    format: Literal["bdd100k"]
    annotations: Path
    images: Folders

    def frames(self, root: Path, labels: Sequence[str], problems: Problems) -> Iterator[AnnotatedFrame]:
        """The source's frames."""
        declaration = self.declaration(BDD100K, labels, complete=True, name=self.annotations.stem)
        images = _image_folders(root, self.images, self.match)
        return bdd100k.frames(_existing_file(root, self.annotations), images, declaration, problems)


class VocSource(_ClassSource):
    """A folder of Pascal VOC XML files and the folder or folders with its images."""

    format: Literal["voc"]
    annotations: Path
    images: Folders

    def frames(self, root: Path, labels: Sequence[str], problems: Problems) -> Iterator[AnnotatedFrame]:
        """The source's frames."""
        declaration = self.declaration(COMMON, labels, complete=False, name=self.annotations.name)
        images = _image_folders(root, self.images, self.match)
        return voc.frames(_existing_folder(root, self.annotations), images, declaration, problems)


class YoloSource(_ClassSource):
    """A YOLO data set by its data.yaml; `images` only where they do not lie beside the labels."""

    format: Literal["yolo"]
    data: Path
    images: Folders | None = None
    match: Match = "stem"

    def frames(self, root: Path, labels: Sequence[str], problems: Problems) -> Iterator[AnnotatedFrame]:
        """The source's frames."""
        data = _existing_file(root, self.data)
        declaration = self.declaration(COMMON, labels, complete=False, name=data.resolve().parent.name)
        images = _image_folders(root, self.images, self.match) if self.images else None
        return yolo.frames(data, images, declaration, problems)


Source = Annotated[TableSource | CocoSource | Bdd100kSource | VocSource | YoloSource, Field(discriminator="format")]


class DataDescription(_Strict):
    """The labels of a run and the sources that know about them.

    `on_problem` stops at the first problem in an annotation file, or skips and counts them. `identity` is how one frame
    is recognised in two sources: by the content of the image files, or by their paths.
    """

    labels: tuple[str, ...] = DEFAULT_LABELS
    on_problem: OnProblem = "stop"
    identity: Identity = "content"
    sources: tuple[Source, ...] = Field(min_length=1)

    def frames(self, root: Path, problems: Problems) -> Iterator[AnnotatedFrame]:
        """The frames of all sources, one source after the other."""
        for source in self.sources:
            yield from source.frames(root, self.labels, problems)


def read(path: Path) -> DataDescription:
    """The description in a TOML file; a folder with labels.csv stands for a table of the default labels.

    Raises InvalidConfiguration where it cannot be read, or has an unknown key or a bad value.
    """
    if path.is_dir():
        return DataDescription(sources=(TableSource(format="table", path=Path()),))
    try:
        return DataDescription.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidConfiguration(f"{path}: no data description that can be read: {error}") from error
    except ValidationError as error:
        raise InvalidConfiguration(f"{path}: {all_errors(error)}") from error


def load(path: Path) -> tuple[LabelTable, Problems]:
    """The label table that a description, or a folder with labels.csv, stands for, and what was wrong with its files.

    Raises InvalidConfiguration for a bad description, AnnotationError at the first problem where it says "stop".
    """
    description = read(path)
    problems = Problems(description.on_problem)
    root = path if path.is_dir() else path.parent
    frames = description.frames(root, problems)
    return label_table(frames, description.labels, description.identity, problems), problems


def _image_folders(root: Path, folders: Sequence[Path], match: Match) -> ImageFolders:
    return ImageFolders([_existing_folder(root, folder) for folder in folders], match)


def _existing_folder(root: Path, path: Path) -> Path:
    if not (root / path).is_dir():
        raise InvalidConfiguration(f"{root / path} is not a folder")
    return root / path


def _existing_file(root: Path, path: Path) -> Path:
    if not (root / path).is_file():
        raise InvalidConfiguration(f"{root / path} is not a file")
    return root / path
