"""Pascal VOC: one XML file per image (VOC2012 development kit, section 4)."""

from collections.abc import Iterator
from pathlib import Path

from lxml import etree

from model_training.errors import InvalidConfiguration
from model_training.sources.annotated_frame import AnnotatedFrame, Box, Place
from model_training.sources.boxes import fractions_of
from model_training.sources.declaration import AnnotatedObject, Declaration, annotated_frame
from model_training.sources.image_folders import ImageFolders, plain_stem, size_px
from model_training.sources.problems import Kind, Problems

CORNERS = ("xmin", "ymin", "xmax", "ymax")


class _BadValue(ValueError):
    def __init__(self, line: int | None, message: str) -> None:
        super().__init__(message)
        self.line = line


def frames(
    annotations: Path, images: ImageFolders, declaration: Declaration, problems: Problems
) -> Iterator[AnnotatedFrame]:
    """The frames of a folder of VOC files, in order of file name.

    The image is looked for under `filename`, else under the XML file's own name. Corners are taken as pixels from the
    frame's edge: tools differ in whether they count from 0 or from 1, which moves a box by less than a pixel's width.
    They refer to `size` in the file, or where that is missing or 0 to the image's header. Objects marked difficult
    count like any other. Raises InvalidConfiguration for a folder without XML files, AnnotationError where problems
    stop the run.
    """
    files = sorted(annotations.rglob("*.xml"))
    if not files:
        raise InvalidConfiguration(f"{annotations} holds no VOC annotations (*.xml)")
    first_file: dict[Path, Path] = {}
    for file in files:
        read = _read(file, images, problems)
        if read and read[0] in first_file:
            message = f"image {read[0]} is annotated already, in {first_file[read[0]]}"
            problems.report(Kind.DUPLICATE, file, None, message)
        if read:
            first_file.setdefault(read[0], file)
            yield from _frame(file, *read, declaration, problems)


def _read(file: Path, images: ImageFolders, problems: Problems) -> tuple[Path, etree._Element] | None:
    # Entities and network access are off: an annotation file has no business reading other files.
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True)
    try:
        root = etree.parse(str(file), parser).getroot()
    except (etree.XMLSyntaxError, OSError) as error:
        line = error.lineno if isinstance(error, etree.XMLSyntaxError) else None
        problems.report(Kind.BROKEN_FILE, file, line, f"not XML: {error}")
        return None
    if root.tag != "annotation":
        problems.report(Kind.BROKEN_FILE, file, _line(root), f"the root is {root.tag!r}; it must be 'annotation'")
        return None
    image = _image(file, root, images, problems)
    return (image, root) if image else None


def _image(file: Path, root: etree._Element, images: ImageFolders, problems: Problems) -> Path | None:
    named = root.find("filename")
    name, line = (_text(named), _line(named)) if named is not None else ("", None)
    if name and not any((folder / name).is_file() for folder in images.folders):
        # Renamed sets keep the old file name inside; the file's own name is then right.
        beside = [f"{file.stem}{suffix}" for suffix in (Path(name).suffix, ".jpg")]
        name = next((other for other in beside if images.match == "name" and images.find(other)), name)
    return images.found(name or f"{file.stem}.jpg", file, line, problems)


def _frame(
    file: Path, image: Path, root: etree._Element, declaration: Declaration, problems: Problems
) -> Iterator[AnnotatedFrame]:
    place = Place(file, _line(named) if (named := root.find("filename")) is not None else None)
    size = _size_px(root) or size_px(image, place, problems)
    if size:
        objects = [_object(file, element, size, problems) for element in root.iterfind("object")]
        scene = declaration.scene(image.name, plain_stem(image.name))
        yield annotated_frame(image, scene, objects, declaration, problems, place=place)


def _size_px(root: etree._Element) -> tuple[float, float] | None:
    try:
        width, height = (float(root.findtext(f"size/{side}") or 0) for side in ("width", "height"))
    except ValueError:
        return None
    return (width, height) if width > 0 and height > 0 else None


def _object(file: Path, element: etree._Element, size: tuple[float, float], problems: Problems) -> AnnotatedObject:
    line = _line(element)
    try:
        return AnnotatedObject(_name(element), _box(element, size), file, line)
    except _BadValue as error:
        problems.report(Kind.BAD_VALUE, file, error.line, str(error))
        return AnnotatedObject(None, None, file, line)


def _name(element: etree._Element) -> str:
    name = _text(element.find("name"))
    if not name:
        raise _BadValue(_line(element), "an object has no name")
    return name


def _box(element: etree._Element, size: tuple[float, float]) -> Box | None:
    box = element.find("bndbox")
    if box is None:
        return None
    x0, y0, x1, y1 = (_number(box, corner) for corner in CORNERS)
    return fractions_of((x0, y0, x1, y1), *size)


def _number(box: etree._Element, corner: str) -> float:
    found = box.find(corner)
    if found is None:
        raise _BadValue(_line(box), f"a bndbox has no {corner}")
    try:
        return float(_text(found))
    except ValueError as error:
        raise _BadValue(_line(found), f"{corner} is {_text(found)!r}; it must be a number of pixels") from error


def _line(element: etree._Element) -> int | None:
    line: object = element.sourceline
    return line if isinstance(line, int) else None


def _text(element: etree._Element | None) -> str:
    return (element.text or "").strip() if element is not None else ""
