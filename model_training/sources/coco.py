"""COCO instances JSON: `images`, `annotations` and `categories` (cocodataset.org, data format)."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, FiniteFloat, PositiveFloat, ValidationError

from model_training.sources.annotated_frame import AnnotatedFrame, Box, Place
from model_training.sources.boxes import fractions_of
from model_training.sources.declaration import AnnotatedObject, Declaration, annotated_frame
from model_training.sources.image_folders import ImageFolders, without_copy
from model_training.sources.json_elements import BrokenJson, Element, elements, first_error
from model_training.sources.problems import Kind, Problems


class CocoImage(BaseModel):
    """An element of `images`; width and height are those that boxes refer to, whatever size the file has now."""

    model_config = ConfigDict(frozen=True)
    id: int | str
    file_name: str
    width: PositiveFloat
    height: PositiveFloat


class CocoAnnotation(BaseModel):
    """An element of `annotations`; bbox is x, y, width, height in pixels. Crowd boxes cover the whole crowd."""

    model_config = ConfigDict(frozen=True)
    image_id: int | str
    category_id: int | str
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat] | None = None


class CocoCategory(BaseModel):
    """An element of `categories`."""

    model_config = ConfigDict(frozen=True)
    id: int | str
    name: str


Read = TypeVar("Read", bound=BaseModel)
Id = int | str


def frames(
    annotations: Path, images: ImageFolders, declaration: Declaration, problems: Problems
) -> Iterator[AnnotatedFrame]:
    """The frames of a COCO instances file, in the order of its `images`.

    A complete declaration is exhaustive on the labels that the file's `categories` show: COCO leaves nothing of its 80
    categories out, except inside crowds, which have one box for all. A broken file yields no frame: annotations that
    were not reached cannot be told from objects that are not there. Raises AnnotationError where problems stop the run.
    """
    try:
        document = _Document(annotations, problems)
    except BrokenJson as error:
        problems.report(Kind.BROKEN_FILE, annotations, error.line, error.message)
        return
    objects = document.objects_by_image()
    declaration = declaration.in_file(document.names.values())
    for line, image in document.usable_images():
        path = images.found(image.file_name, annotations, line, problems)
        if path:
            scene = declaration.scene(image.file_name, without_copy(image.file_name))
            place = Place(annotations, line)
            yield annotated_frame(path, scene, objects.get(image.id, ()), declaration, problems, place=place)


@dataclass(slots=True)
class _Document:
    """The file's three arrays, checked; whatever else it holds is passed over."""

    path: Path
    problems: Problems
    images: list[tuple[int, CocoImage]] = field(default_factory=list)
    annotations: list[tuple[int, CocoAnnotation]] = field(default_factory=list)
    names: dict[Id, str] = field(default_factory=dict)
    unreadable: dict[Id, list[int]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        seen = set()
        for element in elements(self.path):
            seen.add(element.key)
            self._keep(element)
        # A file without annotations may be right; without any image or category it describes nothing.
        if missing := sorted({"images", "categories"} - seen):
            raise BrokenJson(None, f"no COCO instances: {' and '.join(missing)} missing or empty")

    def _keep(self, element: Element) -> None:
        if element.key == "images" and (image := self._read(CocoImage, element)):
            self.images.append((element.line, image))
        elif element.key == "annotations":
            self._keep_annotation(element)
        elif element.key == "categories" and (category := self._read(CocoCategory, element)):
            self.names[category.id] = category.name

    def _keep_annotation(self, element: Element) -> None:
        if annotation := self._read(CocoAnnotation, element):
            self.annotations.append((element.line, annotation))
        elif isinstance(element.value, Mapping) and isinstance(element.value.get("image_id"), int | str):
            self.unreadable[element.value["image_id"]].append(element.line)

    def _read(self, model: type[Read], element: Element) -> Read | None:
        try:
            return model.model_validate(element.value)
        except ValidationError as error:
            self.problems.report(Kind.BAD_VALUE, self.path, element.line, f"{element}: {first_error(error)}")
            return None

    def usable_images(self) -> Iterator[tuple[int, CocoImage]]:
        """Those whose annotations are known; one that is listed under two ids has the annotations of both."""
        names: dict[Id, set[str]] = defaultdict(set)
        for _, image in self.images:
            names[image.id].add(image.file_name)
        first_line: dict[str, int] = {}
        first_line_of_id: dict[Id, int] = {}
        for line, image in self.images:
            already = first_line.get(image.file_name) or first_line_of_id.get(image.id)
            if already:
                message = f"image {image.id} ({image.file_name}) is listed already, in line {already}"
                self.problems.report(Kind.DUPLICATE, self.path, line, message)
            first_line.setdefault(image.file_name, line)
            first_line_of_id.setdefault(image.id, line)
            # Which of two images an annotation means that names the id of both, nobody can tell.
            if len(names[image.id]) == 1:
                yield line, image

    def objects_by_image(self) -> Mapping[Id, list[AnnotatedObject]]:
        sizes = {image.id: (image.width, image.height) for _, image in self.images}
        objects: dict[Id, list[AnnotatedObject]] = defaultdict(list)
        for image_id, lines in self.unreadable.items():
            objects[image_id] = [AnnotatedObject(None, None, self.path, line) for line in lines]
        for line, annotation in self.annotations:
            if annotation.image_id in sizes:
                objects[annotation.image_id].append(self._object(line, annotation, sizes[annotation.image_id]))
            else:
                self._report_orphan(line, annotation)
        return objects

    def _object(self, line: int, annotation: CocoAnnotation, size_px: tuple[float, float]) -> AnnotatedObject:
        name = self.names.get(annotation.category_id)
        if name is None:
            message = f"category_id {annotation.category_id} is not in this file's categories"
            self.problems.report(Kind.UNKNOWN_CLASS, self.path, line, message)
        return AnnotatedObject(name, _box(annotation, size_px), self.path, line)

    def _report_orphan(self, line: int, annotation: CocoAnnotation) -> None:
        message = f"image_id {annotation.image_id} is not in this file's images"
        self.problems.report(Kind.BAD_VALUE, self.path, line, message)


def _box(annotation: CocoAnnotation, size_px: tuple[float, float]) -> Box | None:
    if annotation.bbox is None:
        return None
    x, y, width, height = annotation.bbox
    return fractions_of((x, y, x + width, y + height), *size_px)
