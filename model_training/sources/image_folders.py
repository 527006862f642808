"""Where the images that an annotation file names lie, and how large they are."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

from PIL import Image

from model_training.sources.annotated_frame import Place
from model_training.sources.problems import Kind, Problems

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
"""Those of the formats that `service.inference.decoding` reads."""

Match = Literal["name", "stem"]


def listed(value: object) -> object:
    """A path, or nothing, as a list of paths: people write one where a file may name several."""
    return () if value is None else (value,) if isinstance(value, str | Path) else value


class Ambiguous(ValueError):
    """Several images go by one name."""


def plain_stem(name: str) -> str:
    """The stem of a file name without the hash that Roboflow's exports add.

    >>> plain_stem("labels/google_0230_jpg.rf.2eca2885beb1007aa989acf0fec36b4c.txt")
    'google_0230_jpg'
    """
    return Path(without_copy(name)).stem


def without_copy(name: str) -> str:
    """A name without the hash by which Roboflow's exports tell copies of one picture apart.

    >>> without_copy("train/a_jpg.rf.2eca2885beb1007aa989acf0fec36b4c.jpg")
    'train/a_jpg.jpg'
    """
    return re.sub(r"\.rf\.[0-9A-Za-z]{6,}(?=\.[^./]+$)", "", name)


class ImageFolders:
    """The images below one or several folders.

    `match="name"` finds a file by its path below a folder. `"stem"` also finds one whose suffix, folder or Roboflow
    hash differs, as after a conversion. Names without their hash need not be unique in an export: keep it if you can.
    """

    def __init__(self, folders: Sequence[Path], match: Match = "name") -> None:
        self.folders, self.match = tuple(folders), match

    def find(self, name: str) -> Path | None:
        """The image called `name`, or None; raises Ambiguous where several images share its stem."""
        exact = next((folder / name for folder in self.folders if name and (folder / name).is_file()), None)
        return exact or (self._by_stem(name) if self.match == "stem" else None)

    def found(self, name: str, file: Path, line: int | None, problems: Problems) -> Path | None:
        """The image that `file` calls `name` in `line`, or None after a report that there is none."""
        try:
            path = self.find(name)
        except Ambiguous as error:
            problems.report(Kind.MISSING_IMAGE, file, line, str(error))
            return None
        if path is None:
            problems.report(Kind.MISSING_IMAGE, file, line, f"image {name!r} is not in {self}")
        return path

    def _by_stem(self, name: str) -> Path | None:
        found = self._stems.get(Path(name).stem) or self._stems.get(plain_stem(name), [])
        if len(found) > 1:
            raise Ambiguous(f"{name} could be any of {', '.join(str(image) for image in found[:3])}")
        return found[0] if found else None

    @cached_property
    def _stems(self) -> dict[str, list[Path]]:
        stems: dict[str, list[Path]] = defaultdict(list)
        for image in self:
            for stem in {image.stem, plain_stem(image.name)}:
                stems[stem].append(image)
        return dict(stems)

    def __iter__(self) -> Iterator[Path]:
        """All images, in order of their paths."""
        for folder in self.folders:
            yield from (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES)

    def __str__(self) -> str:
        return ", ".join(str(folder) for folder in self.folders)


def upright_size(image: Path) -> tuple[int, int]:
    """Width and height in pixels, as shown; reads no more than the file's header. Raises what Pillow raises."""
    with Image.open(image) as file:
        turned = file.getexif().get(0x0112, 1) >= 5  # orientations 5 to 8 lie on their side
        return (file.height, file.width) if turned else (file.width, file.height)


def size_px(image: Path, place: Place, problems: Problems) -> tuple[float, float] | None:
    """Width and height from the header of the image named in `place`, or None after a report that it has none."""
    try:
        return upright_size(image)
    except (OSError, Image.DecompressionBombError) as error:
        problems.report(Kind.BROKEN_IMAGE, *place, f"image {image} cannot be used: {error}")
        return None
