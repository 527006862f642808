"""The data of a run: which labels, from which sources, in one TOML file.

    labels = ["pedestrian", "car", "stop_sign", "traffic_light"]
    on_problem = "skip"
    check_images = true
    teacher = "streetframes/teacher.csv"

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
from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from model_training.configuration import TrainingConfiguration, all_errors
from model_training.errors import InvalidConfiguration
from model_training.label_table import Identity, LabelTable, label_table
from model_training.sources import bdd100k, coco, csv_table, voc, yolo
from model_training.sources.annotated_frame import AnnotatedFrame
from model_training.sources.class_mapping import BDD100K, COCO, COMMON, Classes, ClassMapping
from model_training.sources.declaration import Declaration
from model_training.sources.image_folders import ImageFolders, Match, listed
from model_training.sources.problems import OnProblem, Problems
from model_training.sources.readable_images import readable_frames
from model_training.tracking import Tracking, untracked

TEACHER = "teacher.csv"

Folders = Annotated[tuple[Path, ...], BeforeValidator(listed), Field(min_length=1)]
Meanings = str | tuple[str, ...]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TableSource(_Strict):
    """A folder with labels.csv and perhaps boxes.csv; its columns say source, licence, split and group per frame."""

    format: Literal["table"]
    path: Path
    name: str | None = None
    split: Literal["train", "fit", "test"] | None = None
    licence: str = "unstated"

    def frames(
        self,
        root: Path,
        labels: Sequence[str],  # noqa: ARG002 - one signature for all sources; a table's columns are its labels
        problems: Problems,
    ) -> Iterator[AnnotatedFrame]:
        """The source's frames; what its rows do not say is taken from here."""
        defaults = csv_table.Defaults(self.called(root), self.licence, self.split)
        return csv_table.frames(root / self.path, problems, defaults)

    def called(self, root: Path) -> str:
        """Its name, else that of its folder."""
        return self.name or (root / self.path).resolve().name


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
    split: Literal["train", "fit", "test"] | None = None
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

    @abstractmethod
    def called(self, root: Path) -> str:
        """Its name, else that of its annotations."""

    def declaration(self, defaults: Classes, labels: Sequence[str], *, complete: bool, name: str) -> Declaration:
        """What holds for every frame; labels declared exhaustive that are not in this run are left out."""
        mapping = ClassMapping(defaults, self.classes, labels)
        mapping.check_known(self.exhaustive or (), name)
        return Declaration(
            source=name,
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

    def called(self, root: Path) -> str:
        """Its name, else that of its annotations."""
        return self.name or (root / self.annotations).stem

    def frames(self, root: Path, labels: Sequence[str], problems: Problems) -> Iterator[AnnotatedFrame]:
        """The source's frames."""
        declaration = self.declaration(COCO, labels, complete=True, name=self.called(root))
        images = _image_folders(root, self.images, self.match)
        return coco.frames(_existing_file(root, self.annotations), images, declaration, problems)


class Bdd100kSource(_ClassSource):
    """A Scalabel JSON file and the folder or folders with its images."""

    format: Literal["bdd100k"]
    annotations: Path
    images: Folders

    def called(self, root: Path) -> str:
        """Its name, else that of its annotations."""
        return self.name or (root / self.annotations).stem

    def frames(self, root: Path, labels: Sequence[str], problems: Problems) -> Iterator[AnnotatedFrame]:
        """The source's frames."""
        declaration = self.declaration(BDD100K, labels, complete=True, name=self.called(root))
        images = _image_folders(root, self.images, self.match)
        return bdd100k.frames(_existing_file(root, self.annotations), images, declaration, problems)


class VocSource(_ClassSource):
    """A folder of Pascal VOC XML files and the folder or folders with its images."""

    format: Literal["voc"]
    annotations: Path
    images: Folders

    def called(self, root: Path) -> str:
        """Its name, else that of its annotations."""
        return self.name or (root / self.annotations).name

    def frames(self, root: Path, labels: Sequence[str], problems: Problems) -> Iterator[AnnotatedFrame]:
        """The source's frames."""
        declaration = self.declaration(COMMON, labels, complete=False, name=self.called(root))
        images = _image_folders(root, self.images, self.match)
        return voc.frames(_existing_folder(root, self.annotations), images, declaration, problems)


class YoloSource(_ClassSource):
    """A YOLO data set by its data.yaml; `images` only where they do not lie beside the labels."""

    format: Literal["yolo"]
    data: Path
    images: Folders | None = None
    match: Match = "stem"

    def called(self, root: Path) -> str:
        """Its name, else that of its annotations."""
        return self.name or (root / self.data).resolve().parent.name

    def frames(self, root: Path, labels: Sequence[str], problems: Problems) -> Iterator[AnnotatedFrame]:
        """The source's frames."""
        data = _existing_file(root, self.data)
        declaration = self.declaration(COMMON, labels, complete=False, name=self.called(root))
        images = _image_folders(root, self.images, self.match) if self.images else None
        return yolo.frames(data, images, declaration, problems)


AnySource = TableSource | CocoSource | Bdd100kSource | VocSource | YoloSource
Source = Annotated[AnySource, Field(discriminator="format")]


class DataDescription(_Strict):
    """The labels of a run and the sources that know about them.

    `on_problem` stops at the first problem in an annotation file or an image, or skips and counts them. `identity` is
    how one frame is recognised in two sources: by the content of the image files, or by their paths. `check_images`
    decodes every image while the table is loaded, so that no run meets a broken one; for millions of them, check once
    and then turn it off. `teacher` is a CSV of presence scores for unknown entries, its images relative to its folder.
    """

    labels: tuple[str, ...] = TrainingConfiguration().labels
    on_problem: OnProblem = "stop"
    identity: Identity = "content"
    check_images: bool = True
    teacher: Path | None = None
    sources: tuple[Source, ...] = Field(min_length=1)

    def frames(self, root: Path, problems: Problems) -> Iterator[AnnotatedFrame]:
        """The frames of all sources, one source after the other; those with a problem are left out.

        Raises InvalidConfiguration where two sources would go by one name that nobody gave them: their scenes would be
        taken for the same. And where patterns find one scene in test and, under another name, outside it.
        """
        called = Counter(source.called(root) for source in self.sources)
        for source in self.sources:
            if source.name is None and called[source.called(root)] > 1:
                raise InvalidConfiguration(f"two sources are called {source.called(root)!r}; give each a `name`")
        found = _scenes_apart((source, source.frames(root, self.labels, problems)) for source in self.sources)
        return readable_frames(found, problems) if self.check_images else found

    def teacher_in(self, root: Path) -> Path | None:
        """The teacher's file, which is there, or None where none is named; raises InvalidConfiguration."""
        return _existing_file(root, self.teacher) if self.teacher else None


def _scenes_apart(sources: Iterable[tuple[AnySource, Iterable[AnnotatedFrame]]]) -> Iterator[AnnotatedFrame]:
    """All frames; raises InvalidConfiguration for a scene of two sources with a `group` that is in test in one only.

    Equal names may be one drive, which leaks, or two; only who wrote the description knows which.
    """
    sources_of: dict[tuple[str, bool], set[str]] = defaultdict(set)
    for source, frames in sources:
        has_pattern = not isinstance(source, TableSource) and source.group is not None
        for frame in frames:
            if has_pattern:
                scene, tested = frame.group.removeprefix(f"{frame.source}:"), frame.split == "test"
                sources_of[scene, tested].add(frame.source)
                if others := sources_of[scene, not tested] - {frame.source}:
                    raise InvalidConfiguration(
                        f"scene {scene!r} is in {frame.source} and in {', '.join(sorted(others))}, and one of them is "
                        "a test: where it is one drive give these sources the same `name`, where it is two a `group` "
                        "pattern that finds different names"
                    )
            yield frame


def read(path: Path) -> DataDescription:
    """The description in a TOML file; a folder with labels.csv stands for a table of the default labels.

    A folder's teacher.csv, where there is one, is its teacher.

    Raises InvalidConfiguration where it cannot be read, or has an unknown key or a bad value.
    """
    if path.is_dir():
        teacher = Path(TEACHER) if (path / TEACHER).is_file() else None
        return DataDescription(sources=(TableSource(format="table", path=Path()),), teacher=teacher)
    try:
        return DataDescription.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidConfiguration(f"{path}: no data description that can be read: {error}") from error
    except ValidationError as error:
        raise InvalidConfiguration(f"{path}: {all_errors(error)}") from error


def load(path: Path, tracking: Tracking = untracked) -> tuple[LabelTable, Problems]:
    """The label table that a description, or a folder with labels.csv, stands for, and what was wrong with its files.

    How many frames there are shows only when all have been read. Raises InvalidConfiguration for a bad description,
    AnnotationError at the first problem where it says "stop".
    """
    description, root = read(path), _root(path)
    description.teacher_in(root)
    problems = Problems(description.on_problem)
    frames = tracking(description.frames(root, problems), f"reading the frames of {path}", None)
    return label_table(frames, description.labels, description.identity, problems), problems


def teacher(path: Path) -> Path | None:
    """The CSV of presence scores that a description names, or that a folder with labels.csv holds, or None.

    Raises InvalidConfiguration for a bad description, and where the file that it names is not there.
    """
    return read(path).teacher_in(_root(path))


def _root(path: Path) -> Path:
    return path if path.is_dir() else path.parent


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
