"""What PATHS name: files, folders, patterns and lists, as one stream of file names in a stable order."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from service.errors import UnreadableFile
from service.scoring.patterns import Pattern

IMAGE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})
VIDEO_SUFFIXES: Final = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".mts", ".m2ts", ".wmv", ".flv", ".3gp", ".ogv"}
)
STANDARD_INPUT: Final = "-"


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file to score, or what cannot be read, a file or a folder, and why."""

    path: str
    failure: UnreadableFile | None = None

    @property
    def is_video(self) -> bool:
        return _suffix(self.path) in VIDEO_SUFFIXES


def nameless(arguments: Iterable[str]) -> list[str]:
    """The arguments that name nothing: no file, no folder, no match of a pattern."""
    return [argument for argument in arguments if argument != STANDARD_INPUT and next(_named(argument), None) is None]


def listed_files(arguments: Sequence[str], standard_input: Iterable[str] = ()) -> Iterator[ListedFile]:
    """The files as given, and images and videos in the folders at every depth, sorted by name; each file once.

    Of links, those to files are files; one to a folder is entered where it is named itself, and not inside a folder.
    What an earlier argument has named already is left out; what standard input lists comes as often as it is listed.
    Only the names of one folder are held at a time, and those that arguments before the last one have matched.
    """
    earlier = _Earlier()
    for number, argument in enumerate(arguments, start=1):
        if argument == STANDARD_INPUT:
            yield from (file for line in standard_input for file in _files_at(line))
            continue
        for name in _named(argument):
            yield from (file for file in _files_at(name) if not earlier.names(file.path))
            if number < len(arguments):
                earlier.add(name)


def listed_names(stream: BinaryIO, separator: bytes) -> Iterator[str]:
    """The names in a list, ended by `separator` (newline or NUL), as they arrive; empty ones are left out."""
    rest = b""
    while chunk := stream.read1(65536):  # type: ignore[attr-defined]  # every buffered stream has it
        *whole, rest = (rest + chunk).split(separator)
        yield from _decoded(whole, separator)
    yield from _decoded([rest], separator)


@dataclass(slots=True)
class _Earlier:
    """What the arguments so far have named."""

    files: set[str] = field(default_factory=set)
    folders: set[Path] = field(default_factory=set)

    def add(self, name: str) -> None:
        if os.path.isdir(name):  # noqa: PTH112 - millions of names: strings, not Path objects
            self.folders.add(Path(name))
        else:
            self.files.add(name)

    def names(self, path: str) -> bool:
        if path in self.files:
            return True
        return bool(self.folders) and _is_wanted(path) and self._passed(path)

    def _passed(self, path: str) -> bool:
        """Whether it lies in one of the folders, with no link on the way there."""
        for folder in Path(path).parents:
            if folder in self.folders:
                return True
            if folder.name == ".." or os.path.islink(folder):  # noqa: PTH114 - it never raises
                return False
        return False


def _named(argument: str) -> Iterator[str]:
    if os.path.lexists(argument):
        yield str(Path(argument))
        return
    for name, within in Pattern(argument).matches():
        # Images and videos in a folder that was matched itself have come with it.
        if not (within and _is_wanted(name)):
            yield name


def _files_at(name: str) -> Iterator[ListedFile]:
    if os.path.isdir(name):  # noqa: PTH112
        yield from _files_below(name)
    else:
        yield ListedFile(name)


def _files_below(folder: str) -> Iterator[ListedFile]:
    try:
        entries = _wanted_entries(folder)
    except OSError as error:
        yield ListedFile(folder, UnreadableFile(f"the folder {folder} cannot be read: {error.strerror}"))
        return
    for name, is_folder, trouble in entries:
        path = os.path.join(folder, name) if folder != "." else name  # noqa: PTH118
        failure = UnreadableFile(f"{path} cannot be read: {trouble}") if trouble else None
        yield from _files_below(path) if is_folder else [ListedFile(path, failure)]


def _wanted_entries(folder: str) -> list[tuple[str, bool, str]]:
    """Name, whether it is a folder, and why it cannot be told what it is, of each that is wanted; sorted."""
    with os.scandir(folder) as entries:
        return sorted(looked_at for entry in entries if (looked_at := _looked_at(entry)))


def _looked_at(entry: os.DirEntry[str]) -> tuple[str, bool, str] | None:
    try:
        is_folder = entry.is_dir(follow_symlinks=False)
        wanted = is_folder or (_is_wanted(entry.name) and (entry.is_file() or _leads_nowhere(entry)))
    except OSError as error:
        return entry.name, False, error.strerror or str(error)
    return (entry.name, is_folder, "") if wanted else None


def _leads_nowhere(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() and not os.path.exists(entry)  # noqa: PTH110


def _is_wanted(name: str) -> bool:
    return _suffix(name) in IMAGE_SUFFIXES or _suffix(name) in VIDEO_SUFFIXES


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122


def _decoded(names: Iterable[bytes], separator: bytes) -> Iterator[str]:
    for name in names:
        # A list written on Windows ends its lines with \r\n; a name between NULs is taken to the byte.
        exact = name.removesuffix(b"\r") if separator == b"\n" else name
        if exact:
            yield os.fsdecode(exact)
