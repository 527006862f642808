"""What patterns match, as Python's own glob does but for links, and no sooner than it is asked for."""

import glob
import os
from pathlib import Path

import pytest

from service.scoring.paths import listed_files, nameless
from service.scoring.patterns import Pattern
from tests.service.scoring.refused_folder import refuse_to_list

FILES = ("b.png", "a/2.jpg", "a/10.JPG", "a/z/1.webp", "a/notes.txt", "a/.hidden.jpg", ".dot/3.jpg", "c.png/a/d.jpeg")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def matched(pattern: str) -> list[str]:
    return [name for name, _ in Pattern(pattern).matches()]


def files(*arguments: str) -> list[str]:
    return [file.path for file in listed_files(arguments)]


@pytest.mark.parametrize(
    "pattern",
    [
        *("*", "*.png", "?.png", "[ab]*", "a/*", "a/*.jpg", "./a/*.jpg", "a/../*.png", "*/", "*/z/*", "a/.h*", ".*/*"),
        *("**/*.jpg", "a/**/*.webp", "**/a/**/*.jp*g", "**/z", "a/**/z/**/1.webp", "x/*", "b.png/*", "b.png", "[!a]*"),
    ],
)
def test_names_are_those_of_glob_each_once(here: Path, pattern: str) -> None:
    expected = {str(Path(name)) for name in glob.glob(pattern, recursive=True)}  # noqa: PTH207
    found = matched(pattern)
    assert sorted(found) == sorted(expected - ({pattern} if pattern == "b.png" else set()))


@pytest.mark.parametrize("pattern", ["**", "a/**", "**/*", "*/**", "**/a", "**/"])
def test_a_folder_that_matches_brings_its_images_once(here: Path, pattern: str) -> None:
    """What matches by itself is taken whatever it is called; of folders, images at every depth, hidden ones too."""
    expected: set[Path] = set()
    for name in map(Path, glob.glob(pattern, recursive=True)):  # noqa: PTH207
        below = [path for path in name.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")]
        expected.update(path for path in [name, *below] if path.is_file())
    assert sorted(files(pattern)) == sorted(map(str, expected))


def test_absolute_patterns_give_absolute_names(here: Path) -> None:
    assert matched(f"{here}/a/*.jpg") == [f"{here}/a/2.jpg"]


def test_links_to_folders_are_entered_in_front_of_any_depth_only(here: Path) -> None:
    """One that leads upwards would give every file again and again."""
    (here / "a" / "up").symlink_to("..")
    (here / "a" / "link.jpg").symlink_to("../b.png")
    (here / "also").symlink_to("a")
    assert files("**/*.jpg") == ["a/2.jpg", "a/link.jpg"]
    assert files("a/**") == ["a/.hidden.jpg", "a/10.JPG", "a/2.jpg", "a/link.jpg", "a/z/1.webp", "a/notes.txt"]
    assert files("als*/*.jpg") == files("als*/**/*.jpg") == ["also/2.jpg", "also/link.jpg"]
    assert files("als*") == ["also/.hidden.jpg", "also/10.JPG", "also/2.jpg", "also/link.jpg", "also/z/1.webp"]


def test_a_link_to_nothing_matches(here: Path) -> None:
    (here / "gone.jpg").symlink_to("absent")
    (here / "ring.jpg").symlink_to("ring.jpg")
    assert files("*.jpg") == ["gone.jpg", "ring.jpg"]


def test_a_folder_that_cannot_be_listed_is_told(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_to_list("a", monkeypatch)
    told = {file.path: file.failure for file in listed_files(["**/*.jpeg"])}
    assert str(told["a"]) == "the folder a cannot be read: Permission denied"
    assert list(told) == ["a", "c.png/a/d.jpeg"]


def test_folders_are_listed_when_their_names_are_asked_for(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Millions of matches do not wait in memory, and to know that there is one takes no look at the others."""
    looked_at: list[str] = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: looked_at.append(folder) or scan(folder))
    assert nameless(["**/*.jpg"]) == []
    assert next(listed_files(["**/*.jpg"])).path == "a/2.jpg"
    assert looked_at == [".", "a", ".", "a"]
