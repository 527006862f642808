"""BDD100K in the Scalabel format: a JSON list of frames, or an object with `frames` (doc.scalabel.ai, format)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PositiveFloat, ValidationError

from model_training.sources.annotated_frame import AnnotatedFrame, Box, Place
from model_training.sources.boxes import around, fractions_of
from model_training.sources.declaration import AnnotatedObject, Declaration, annotated_frame
from model_training.sources.image_folders import ImageFolders, size_px
from model_training.sources.json_elements import BrokenJson, Element, elements, first_error
from model_training.sources.problems import Kind, Problems


class Box2D(BaseModel):
    """Corners in pixels."""

    model_config = ConfigDict(frozen=True)
    x1: FiniteFloat
    y1: FiniteFloat
    x2: FiniteFloat
    y2: FiniteFloat


class Polygon(BaseModel):
    """A line or polygon in pixels; `C` in `types` marks control points of a curve."""

    model_config = ConfigDict(frozen=True)
    vertices: tuple[tuple[FiniteFloat, FiniteFloat], ...] = Field(min_length=1)


class Label(BaseModel):
    """One annotated object."""

    model_config = ConfigDict(frozen=True)
    category: str
    box2d: Box2D | None = None
    poly2d: tuple[Polygon, ...] | None = None


class Size(BaseModel):
    """Pixels."""

    model_config = ConfigDict(frozen=True)
    width: PositiveFloat
    height: PositiveFloat


class Frame(BaseModel):
    """One frame; `labels` is null where nobody annotated it and an empty list where there was nothing to annotate."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)
    name: str = Field(min_length=1)
    video_name: str | None = Field(None, alias="videoName")
    size: Size | None = None
    labels: tuple[Label, ...] | None = None


class Configuration(BaseModel):
    """The `config` of a file with `frames`."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)
    image_size: Size | None = Field(None, alias="imageSize")


def frames(
    annotations: Path, images: ImageFolders, declaration: Declaration, problems: Problems
) -> Iterator[AnnotatedFrame]:
    """The frames of a Scalabel file; those of one video are one group.

    An image lies at its name below the image folders, or in a folder named after its video. Box sizes refer to the
    frame's `size`, else to the file's `config.imageSize`, else to the image's header. A label whose only shape is a
    polygon has the box around it; one without a shape in the image is present without a box. A frame whose labels are
    null is yielded with everything unknown. A complete declaration is exhaustive on the labels that the file shows
    anywhere: the tracking sets, for one, leave traffic lights out.

    A broken file yields no frame. Raises AnnotationError where problems stop the run.
    """
    reader = _Reader(annotations, images, declaration, problems)
    try:
        found = list(reader.frames())
    except BrokenJson as error:
        problems.report(Kind.BROKEN_FILE, annotations, error.line, error.message)
        return
    reader.declaration = declaration.in_file({label.category for _, _, frame in found for label in frame.labels or ()})
    first_line: dict[Path, int] = {}
    for line, path, frame in found:
        if path in first_line:
            message = f"frame {frame.name} is listed already, in line {first_line[path]}"
            problems.report(Kind.DUPLICATE, annotations, line, message)
        if annotated := reader.annotated(line, path, frame):
            yield annotated
        first_line.setdefault(path, line)


@dataclass(slots=True)
class _Reader:
    path: Path
    images: ImageFolders
    declaration: Declaration
    problems: Problems
    size: Size | None = None
    is_scalabel: bool = False

    def frames(self) -> Iterator[tuple[int, Path, Frame]]:
        for element in elements(self.path):
            if element.key == "config":
                self._configure(element)
            elif element.key in {"", "frames"} and element.index is not None:
                self.is_scalabel = True
                yield from self._frame(element)
        if not self.is_scalabel:
            raise BrokenJson(None, "no Scalabel frames: neither a list of frames nor an object with frames, or empty")

    def _configure(self, element: Element) -> None:
        try:
            self.size = Configuration.model_validate(element.value or {}).image_size
        except ValidationError as error:
            self._report_bad(element, error)

    def _frame(self, element: Element) -> Iterator[tuple[int, Path, Frame]]:
        try:
            frame = Frame.model_validate(element.value)
        except ValidationError as error:
            self._report_bad(element, error)
            return
        if path := self._image(element, frame):
            yield element.line, path, frame

    def _report_bad(self, element: Element, error: ValidationError) -> None:
        self.problems.report(Kind.BAD_VALUE, self.path, element.line, f"{element}: {first_error(error)}")

    def _image(self, element: Element, frame: Frame) -> Path | None:
        in_video = f"{frame.video_name}/{frame.name}"
        if frame.video_name and any((folder / in_video).is_file() for folder in self.images.folders):
            return self.images.found(in_video, self.path, element.line, self.problems)
        return self.images.found(frame.name, self.path, element.line, self.problems)

    def annotated(self, line: int, path: Path, frame: Frame) -> AnnotatedFrame | None:
        scene = self.declaration.scene(frame.name, frame.video_name or frame.name)
        place = Place(self.path, line)
        if frame.labels is None:
            unknown = replace(self.declaration, exhaustive=frozenset())
            return annotated_frame(path, scene, (), unknown, self.problems, place=place)
        size = frame.size or self.size
        size_of_boxes = (size.width, size.height) if size else size_px(path, place, self.problems)
        if size_of_boxes is None:
            return None
        objects = [
            AnnotatedObject(label.category, _box(label, size_of_boxes), self.path, line) for label in frame.labels
        ]
        return annotated_frame(path, scene, objects, self.declaration, self.problems, place=place)


def _box(label: Label, size: tuple[float, float]) -> Box | None:
    if label.box2d:
        return fractions_of((label.box2d.x1, label.box2d.y1, label.box2d.x2, label.box2d.y2), *size)
    if label.poly2d:
        return fractions_of(around([point for polygon in label.poly2d for point in polygon.vertices]), *size)
    return None
