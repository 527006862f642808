"""What a source declares about itself, and what follows from it for the objects annotated in one frame."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from model_training.sources.annotated_frame import AnnotatedFrame, Box, Place
from model_training.sources.boxes import clipped, sticks_out
from model_training.sources.class_mapping import ClassMapping
from model_training.sources.problems import Kind, Problems


@dataclass(frozen=True, slots=True)
class Declaration:
    """What holds for every frame of a source.

    `exhaustive` names the labels whose every object is annotated: for those not annotated means absent, and boxes are
    complete; for all others not annotated means unknown. With `complete` the source leaves out no object of the classes
    that its file has, and is exhaustive on the labels that these show.

    `group` is a pattern searched in the image's name; its first parenthesis (or the whole match) names the scene, and
    where it is None or not found the reader's own rule does. `split` and `licence` are given to every frame.
    """

    source: str
    classes: ClassMapping
    exhaustive: frozenset[str] = frozenset()
    complete: bool = False
    split: str | None = None
    licence: str = "unstated"
    group: re.Pattern[str] | None = None

    def in_file(self, class_names: Iterable[str]) -> "Declaration":
        """The declaration as it stands for a file with these classes."""
        return replace(self, exhaustive=self.classes.shown_by(class_names)) if self.complete else self

    def scene(self, image_name: str, otherwise: str) -> str:
        """The group of an image; scenes of two sources are never one by chance of a name."""
        found = self.group.search(image_name) if self.group else None
        name = found[1 if found.re.groups else 0] if found else otherwise
        return f"{self.source}:{name}"


@dataclass(frozen=True, slots=True)
class AnnotatedObject:
    """One object of a frame, as its file has it.

    `class_name` is None for an object that could not be read. `box` is in fractions of the frame and may leave it;
    it is None where the file only says that the object is there.
    """

    class_name: str | None
    box: Box | None
    file: Path
    line: int | None


@dataclass(slots=True)
class _Findings:
    present: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)
    boxes: dict[str, list[Box]] = field(default_factory=lambda: defaultdict(list))
    unboxed: set[str] = field(default_factory=set)


def annotated_frame(
    image: Path,
    scene: str,
    objects: Iterable[AnnotatedObject],
    declaration: Declaration,
    problems: Problems,
    split: str | None = None,
    place: Place | None = None,
) -> AnnotatedFrame:
    """One frame from the objects that were annotated in it.

    A label is present where an object shows it; absent where the source is exhaustive on it and no object shows it or
    may show it; otherwise unknown. An object that cannot be read, or whose class no mapping knows, may be anything: it
    takes all absences with it. An object whose box has no area inside the frame may be there or not.

    Boxes are clipped to the frame. They are kept where they are complete: the source is exhaustive on the label and
    every object that shows it, or may, has a box. Crowds and difficult objects count like any other; the box of a crowd
    covers all of it, so that outside the boxes there is nothing of the label.
    """
    findings = _Findings()
    for item in objects:
        _weigh(item, declaration, findings, problems)
    present, doubtful = findings.present, findings.doubtful
    absent = declaration.exhaustive - present - doubtful
    boxed = (present & declaration.exhaustive) - findings.unboxed - doubtful
    return AnnotatedFrame(
        image=image,
        entries=dict.fromkeys(sorted(absent), 0) | dict.fromkeys(sorted(present), 1),
        source=declaration.source,
        group=scene,
        boxes={label: tuple(findings.boxes[label]) for label in sorted(boxed)},
        split=declaration.split or split,
        licence=declaration.licence,
        place=place,
    )


def _weigh(item: AnnotatedObject, declaration: Declaration, findings: _Findings, problems: Problems) -> None:
    meaning = declaration.classes.meaning(item.class_name) if item.class_name is not None else None
    if meaning is None:
        if item.class_name is not None:
            problems.report(Kind.UNKNOWN_CLASS, item.file, item.line, _unknown(item.class_name, declaration))
        findings.doubtful |= declaration.classes.labels
        return
    findings.doubtful |= meaning.maybe
    inside = clipped(item.box) if item.box else None
    if item.box and not inside:
        problems.report(Kind.DEGENERATE_BOX, item.file, item.line, _degenerate(item.class_name, item.box))
        findings.doubtful |= meaning.present
        return
    findings.present |= meaning.present
    _place(item, inside, meaning.present, findings, problems)


def _place(
    item: AnnotatedObject, inside: Box | None, labels: frozenset[str], findings: _Findings, problems: Problems
) -> None:
    if inside is None:
        findings.unboxed |= labels
        return
    if item.box and sticks_out(item.box):
        problems.note(Kind.CLIPPED_BOX, item.file, item.line, f"a box of {item.class_name} leaves its frame; clipped")
    for label in labels:
        findings.boxes[label].append(inside)


def _unknown(name: str, declaration: Declaration) -> str:
    return (
        f"class {name!r} is unknown to source {declaration.source}; map it to a label, "
        f'to "?label" (may be one) or to "ignore" under `classes`'
    )


def _degenerate(class_name: str | None, box: Box) -> str:
    corners = ", ".join(f"{corner:.4g}" for corner in box)
    return f"the box of {class_name} has no area inside its frame: {corners} in fractions of width and height"
