"""Files that are there whole or as they were before, whatever happens while they are written."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A path to write to; what is there in the end takes the place of `path`, unless something is raised.

    Then nothing is left of it. An error of the operating system that names no file, as a full disk is, names `path`.
    """
    unfinished = unfinished_of(path)
    try:
        yield unfinished
        unfinished.replace(path)
    except BaseException as problem:
        unfinished.unlink(missing_ok=True)
        if isinstance(problem, OSError) and problem.errno and not problem.filename:
            problem.filename = str(path)
        raise


def write_whole(path: Path, text: str) -> None:
    """Make `path` a file of this text, in UTF-8, or leave it as it was."""
    with written_whole(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def unfinished_of(path: Path) -> Path:
    """Where the next `path` is while it is written, and stays after a kill."""
    return path.with_name(f"{path.name}.unfinished")
