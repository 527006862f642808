"""Arguments and options that several subcommands take, and the checks that belong to them."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from model_training.errors import InvalidConfiguration
from model_training.label_table import LabelTable
from model_training.teacher.classes import COCO_CLASSES

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FILE_TO_WRITE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
EXISTING_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)

DATA = click.argument("data", type=click.Path(exists=True, path_type=Path))
RUN = click.argument("run", type=EXISTING_FOLDER)
MODEL = click.argument("model", type=FILE)
TEACHER = click.option(
    "--teacher",
    type=FILE,
    help="CSV of presence scores or boxes for unknown entries.  [default: the one that DATA names]",
)
DETECTOR = click.option(
    "--detector",
    type=FILE,
    help="YOLOX file to imitate in every cell, where the recipe gives that a weight.  [default: none]",
)
NO_CLASS: Final = "none"
CLASSES = click.option(
    "--class",
    "classes",
    multiple=True,
    metavar="LABEL=NUMBER",
    help="Which of the detector's classes stands for a label, beside the defaults of others; LABEL=none: it "
    "knows no such class.  [default: COCO's "
    + ", ".join(f"{label}={number}" for label, number in COCO_CLASSES.items())
    + "]",
)
TEST_SETS = click.option(
    "--test-set",
    "test_sets",
    multiple=True,
    metavar="NAME=SOURCE[+SOURCE...]",
    help="Test rows of these sources are one test set.  [default: each source that has test rows by itself]",
)


def check_free(path: Path, overwrite: bool) -> None:
    """Raise InvalidConfiguration where `path` is there and not to be overwritten; make the folder that it is in."""
    if path.exists() and not overwrite:
        raise InvalidConfiguration(f"{path} is there already: --overwrite replaces it")
    path.parent.mkdir(parents=True, exist_ok=True)


def text_of(path: Path | None) -> str:
    """What a text file holds, nothing where there is none; raises InvalidConfiguration where it is no UTF-8."""
    try:
        return path.read_text(encoding="utf-8") if path else ""
    except UnicodeDecodeError as problem:
        raise InvalidConfiguration(f"{path} is no UTF-8: {problem}") from problem


def check_empty(folder: Path) -> None:
    """Raise InvalidConfiguration where a new run would meet what is in `folder` already."""
    if folder.exists() and any(folder.iterdir()):
        raise InvalidConfiguration(f"{folder} is not empty: --resume goes on with it, --output chooses another folder")


@contextmanager
def to_be_resumed() -> Iterator[None]:
    """Ctrl-C says that what has been trained is not lost."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Stopped. The same command with --resume goes on") from None


def quoted(*paths: Path) -> str:
    """Paths as a shell takes them."""
    return shlex.join(str(path) for path in paths)


def class_numbers(choices: Sequence[str], labels: Sequence[str]) -> Mapping[str, int]:
    """The detector's class of each label that it knows: the one that is chosen, else COCO's.

    Raises InvalidConfiguration for choices that are none or of other labels, and where it would know no label.

    >>> class_numbers(["bicycle=1", "car=none"], ["pedestrian", "car", "bicycle"])
    {'pedestrian': 0, 'bicycle': 1}
    """
    known = {label: COCO_CLASSES[label] for label in labels if label in COCO_CLASSES}
    for choice in choices:
        label, _, number = choice.partition("=")
        if not (label and (number.isdecimal() or number == NO_CLASS)):
            raise InvalidConfiguration(f"--class {choice!r} is not LABEL=NUMBER, such as car=2, or LABEL={NO_CLASS}")
        if label not in labels:
            raise InvalidConfiguration(f"--class {choice}: the labels are {', '.join(labels)}")
        known.pop(label, None)
        if number != NO_CLASS:
            known[label] = int(number)
    if not known:
        raise InvalidConfiguration(
            f"the detector knows none of the labels {', '.join(labels)}; say which of the detector's classes "
            f"stand for them: --class {labels[0]}=NUMBER"
        )
    return known


def chosen_test_sets(choices: Sequence[str], table: LabelTable) -> dict[str, tuple[str, ...]]:
    """Test sets by name, none where there are no test rows.

    Raises InvalidConfiguration for a source without any, and for a name that is given twice.
    """
    named = zip(table.sources, table.splits, strict=True)
    sources = sorted({part for source, split in named if split == "test" for part in source.split("+")})
    if not choices:
        return {source: (source,) for source in sources}
    chosen: dict[str, tuple[str, ...]] = {}
    for choice in choices:
        name, members = _test_set(choice)
        if name in chosen:
            raise InvalidConfiguration(
                f"--test-set {choice!r}: there is a test set {name} already; give it another name"
            )
        chosen[name] = members
    missing = sorted({source for members in chosen.values() for source in members} - set(sources))
    if missing:
        raise InvalidConfiguration(
            f"--test-set names {', '.join(missing)}; sources with test rows are {', '.join(sources) or 'none'}"
        )
    return chosen


def _test_set(choice: str) -> tuple[str, tuple[str, ...]]:
    name, separator, members = choice.partition("=")
    if not (name and separator and members):
        raise InvalidConfiguration(f"--test-set {choice!r} is not NAME=SOURCE[+SOURCE...]")
    return name, tuple(members.split("+"))
