"""YOLO text folders: data.yaml, images, and beside them labels/*.txt (docs.ultralytics.com, detection data sets).

class x_centre y_centre width height      a box, in fractions of the frame
class x1 y1 x2 y2 x3 y3 ...               a polygon, in fractions of the frame
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from model_training.errors import InvalidConfiguration
from model_training.sources.annotated_frame import AnnotatedFrame, Box, Place
from model_training.sources.boxes import ROUNDING, around
from model_training.sources.declaration import AnnotatedObject, Declaration, annotated_frame
from model_training.sources.image_folders import SUFFIXES, ImageFolders, listed, plain_stem
from model_training.sources.json_elements import first_error
from model_training.sources.problems import Kind, Problems

PARTS: Mapping[str, str] = {"train": "train", "val": "train", "test": "test"}
"""The split that each part of data.yaml belongs to: what is not test may be trained on and is split by scene."""


def _numbered(value: object) -> object:
    return dict(enumerate(value)) if isinstance(value, list) else value


class DataYaml(BaseModel):
    """What we read of data.yaml: `names` as a list or by number, and where the parts lie."""

    model_config = ConfigDict(frozen=True)
    names: Annotated[dict[int, str], BeforeValidator(_numbered)]
    path: Path | None = None
    train: Annotated[tuple[str, ...], BeforeValidator(listed)] = ()
    val: Annotated[tuple[str, ...], BeforeValidator(listed)] = ()
    test: Annotated[tuple[str, ...], BeforeValidator(listed)] = ()


Pair = tuple[Path, Path, Place | None]
"""An image, its label file, which may not exist, and where the image is named, if anywhere."""


class _BadLine(ValueError):
    pass


def frames(
    data_yaml: Path, images: ImageFolders | None, declaration: Declaration, problems: Problems
) -> Iterator[AnnotatedFrame]:
    """The frames of a YOLO data set, part by part, in order of their paths.

    An image without a label file, or with an empty one, holds no object, as the format has it. With `images` the images
    are looked for there, and only those that have a label file are frames. Copies of one picture that an export made
    (`X.rf.HASH`) are one group. A line that cannot be read leaves its frame without certain absences.

    Raises InvalidConfiguration where data.yaml cannot be read or no part of it exists, AnnotationError where problems
    stop the run.
    """
    data = _read_yaml(data_yaml)
    reader = _Reader(data_yaml, data.names, declaration, problems)
    parts = list(_parts(data_yaml.parent / (data.path or ""), data))
    if not parts:
        raise InvalidConfiguration(f"{data_yaml}: none of the folders under train, val and test exists")
    for folder, split in parts:
        pairs = _pairs_elsewhere(folder, images, problems) if images else _pairs(folder, problems)
        for image, label_file, place in pairs:
            yield reader.frame(image, label_file, split, place)


def _read_yaml(path: Path) -> DataYaml:
    try:
        return DataYaml.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise InvalidConfiguration(f"{path}: {first_error(error)}") from error
    # PyYAML lets through what breaks in a value: of 2024-99-99, !!bool x, !!float "", !!timestamp x, or deep nesting.
    except (OSError, yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        raise InvalidConfiguration(f"{path}: no YAML file that can be read: {error}") from error


def _parts(root: Path, data: DataYaml) -> Iterator[tuple[Path, str]]:
    """Each existing folder of images (or of labels alone), with its split."""
    for part, split in PARTS.items():
        for entry in getattr(data, part):
            folder = _resolved(root, entry)
            if folder.is_dir() or _labels_of(folder).is_dir() or folder.is_file():
                yield folder, split


def _resolved(root: Path, entry: str) -> Path:
    folder = (root / entry).resolve()
    # Roboflow writes ../train/images for a folder that lies beside data.yaml; Ultralytics reads it so, too.
    if entry.startswith("../") and not folder.exists() and not _labels_of(folder).is_dir():
        return (root / entry.removeprefix("../")).resolve()
    return folder


def _labels_of(folder: Path) -> Path:
    """The folder of labels that belongs to one of images: the last `images` in its path becomes `labels`."""
    parts = list(folder.parts)
    if "images" not in parts:
        return folder
    last = len(parts) - 1 - parts[::-1].index("images")
    return Path(*parts[:last], "labels", *parts[last + 1 :])


def _pairs(part: Path, problems: Problems) -> Iterator[Pair]:
    """Each image of a part; in a folder, label files without an image are reported."""
    if part.is_file():
        yield from _listed_pairs(part, problems)
        return
    pairs: list[Pair] = [(image, _label_file(image), None) for image in ImageFolders([part])]
    for label_file in sorted(set(_labels_of(part).rglob("*.txt")) - {label_file for _, label_file, _ in pairs}):
        message = f"its image {label_file.stem}.* is not in {part}; read are {', '.join(sorted(SUFFIXES))}"
        problems.report(Kind.MISSING_IMAGE, label_file, None, message)
    yield from pairs


def _label_file(image: Path) -> Path:
    return _labels_of(image.parent) / f"{image.stem}.txt"


def _listed_pairs(listing: Path, problems: Problems) -> Iterator[Pair]:
    try:
        entries = listing.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        problems.report(Kind.BROKEN_FILE, listing, None, f"not UTF-8 text: {error}")
        return
    for line, entry in enumerate(entries, start=1):
        image = listing.parent / entry.strip()
        if entry.strip() and image.is_file():
            yield image, _label_file(image), Place(listing, line)
        elif entry.strip():
            problems.report(Kind.MISSING_IMAGE, listing, line, f"image {entry.strip()!r} does not exist")


def _pairs_elsewhere(part: Path, images: ImageFolders, problems: Problems) -> Iterator[Pair]:
    for label_file in sorted(_labels_of(part).rglob("*.txt")):
        if image := images.found(f"{label_file.stem}.jpg", label_file, None, problems):
            yield image, label_file, Place(label_file)


@dataclass(frozen=True, slots=True)
class _Reader:
    data_yaml: Path
    names: Mapping[int, str]
    declaration: Declaration
    problems: Problems

    def frame(self, image: Path, label_file: Path, split: str, place: Place | None) -> AnnotatedFrame:
        scene = self.declaration.scene(image.name, plain_stem(image.name))
        objects = list(self._objects(label_file)) if label_file.is_file() else []
        return annotated_frame(image, scene, objects, self.declaration, self.problems, split, place)

    def _objects(self, file: Path) -> Iterator[AnnotatedObject]:
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            self.problems.report(Kind.BROKEN_FILE, file, None, f"not UTF-8 text: {error}")
            yield AnnotatedObject(None, None, file, None)
            return
        first_line: dict[str, int] = {}
        for line, text in enumerate(lines, start=1):
            if text.strip() in first_line:
                message = f"the object of line {first_line[text.strip()]} once more"
                self.problems.report(Kind.DUPLICATE, file, line, message)
            elif text.strip():
                yield self._object(file, line, text)
            first_line.setdefault(text.strip(), line)

    def _object(self, file: Path, line: int, text: str) -> AnnotatedObject:
        try:
            number, *coordinates = (float(word) for word in text.split())
            return AnnotatedObject(self._name(number), _box(coordinates), file, line)
        except _BadLine as error:
            self.problems.report(Kind.BAD_VALUE, file, line, str(error))
        except ValueError:
            self.problems.report(Kind.BAD_VALUE, file, line, f"{text.strip()!r} is not a class and its coordinates")
        return AnnotatedObject(None, None, file, line)

    def _name(self, number: float) -> str:
        if number not in self.names:
            allowed = ", ".join(f"{known} {name}" for known, name in self.names.items())
            raise _BadLine(f"class {number:g} is not in {self.data_yaml.name}; there are {allowed}")
        return self.names[int(number)]


def _box(coordinates: list[float]) -> Box:
    if any(not -ROUNDING <= coordinate <= 1 + ROUNDING for coordinate in coordinates):
        raise _BadLine(f"coordinates {_shown(coordinates)} must be fractions of the frame, from 0 to 1")
    if len(coordinates) == 4:
        x, y, width, height = coordinates
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    if len(coordinates) >= 6 and len(coordinates) % 2 == 0:
        return around(list(zip(coordinates[::2], coordinates[1::2], strict=True)))
    raise _BadLine(f"{len(coordinates)} coordinates; allowed are 4 (a box) and an even number from 6 (a polygon)")


def _shown(coordinates: list[float]) -> str:
    return " ".join(f"{coordinate:g}" for coordinate in coordinates[:8])
