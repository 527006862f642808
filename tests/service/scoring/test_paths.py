"""What PATHS name, in which order."""

import io
import os
from pathlib import Path

import pytest

from service.scoring.paths import listed_files, listed_names, nameless
from tests.service.scoring.refused_folder import refuse_to_list


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """b.png, a/2.jpg, a/10.JPG, a/z/1.webp, a/film.MP4, a/notes.txt and a folder called c.png, seen from above."""
    for name in ("b.png", "a/2.jpg", "a/10.JPG", "a/z/1.webp", "a/film.MP4", "a/notes.txt", "c.png/d.jpeg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*arguments: str, standard_input: tuple[str, ...] = ()) -> list[str]:
    return [file.path for file in listed_files(arguments, standard_input)]


def test_folders_give_images_and_videos_at_every_depth_sorted_by_name(here: Path) -> None:
    assert names(".") == ["a/10.JPG", "a/2.jpg", "a/film.MP4", "a/z/1.webp", "b.png", "c.png/d.jpeg"]


def test_the_order_is_that_of_sorted_paths(here: Path) -> None:
    """As pathlib sorts them."""
    wanted = (".jpg", ".jpeg", ".png", ".webp", ".mp4")
    paths = [path for path in Path().rglob("*") if path.is_file() and path.suffix.lower() in wanted]
    assert names(".") == [str(path) for path in sorted(paths)]


def test_files_are_taken_as_given_whatever_they_are_called(here: Path) -> None:
    assert names("b.png", "a/notes.txt", "./a/2.jpg") == ["b.png", "a/notes.txt", "a/2.jpg"]


def test_patterns_are_matched_where_no_shell_did(here: Path) -> None:
    assert names("a/*.jpg", "**/*.webp") == ["a/2.jpg", "a/z/1.webp"]


def test_a_pattern_matches_folders_too(here: Path) -> None:
    assert names("c*") == ["c.png/d.jpeg"]


def test_a_file_called_like_a_pattern_is_itself(here: Path) -> None:
    (here / "[ab].png").touch()
    assert names("[ab].png") == ["[ab].png"]


def test_each_file_comes_once_however_often_it_is_named(here: Path) -> None:
    assert names("b.png", "./b.png", "*.png") == ["b.png", "c.png/d.jpeg"]
    assert names("a/z", "a") == ["a/z/1.webp", "a/10.JPG", "a/2.jpg", "a/film.MP4"]
    assert names("a", "a/notes.txt", "a/2.jpg")[-1] == "a/notes.txt"


def test_standard_input_stands_where_its_sign_stands(here: Path) -> None:
    assert names("b.png", "-", "c.png", standard_input=("a/z", "absent.jpg")) == [
        "b.png",
        "a/z/1.webp",
        "absent.jpg",
        "c.png/d.jpeg",
    ]


def test_arguments_that_name_nothing_are_told(here: Path) -> None:
    assert nameless(["b.png", "absent.png", "*.gif", "-", "a"]) == ["absent.png", "*.gif"]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_a_folder_that_is_closed_is_told_and_not_passed_over(here: Path) -> None:
    (here / "a").chmod(0)
    told = {file.path: file.failure for file in listed_files(["."])}
    (here / "a").chmod(0o755)
    assert str(told["a"]) == "the folder a cannot be read: Permission denied"
    assert told["b.png"] is None


def test_a_folder_that_cannot_be_read_has_its_line(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_to_list("a", monkeypatch)
    told = {file.path: file.failure for file in listed_files(["."])}
    assert str(told["a"]) == "the folder a cannot be read: Permission denied"
    assert told["b.png"] is None


def test_a_link_that_cannot_be_followed_costs_its_own_row_and_no_others(here: Path) -> None:
    """A ring of links is an error where one asks what it is, a link to nothing is none: both are told by their name."""
    (here / "a" / "ring.jpg").symlink_to("ring.jpg")
    (here / "a" / "gone.png").symlink_to("absent.png")
    told = {file.path: file.failure for file in listed_files(["a"])}
    assert list(told) == ["a/10.JPG", "a/2.jpg", "a/film.MP4", "a/gone.png", "a/ring.jpg", "a/z/1.webp"]
    assert str(told["a/ring.jpg"]) == "a/ring.jpg cannot be read: Too many levels of symbolic links"
    assert [path for path, failure in told.items() if failure] == ["a/ring.jpg"]


def test_links_to_folders_are_entered_where_they_are_named_and_not_on_the_way(here: Path) -> None:
    """A link upwards would never end."""
    (here / "a" / "up").symlink_to("..")
    (here / "a" / "link").symlink_to("../c.png")
    (here / "a" / "b.png").symlink_to("../b.png")
    inside = ["a/10.JPG", "a/2.jpg", "a/b.png", "a/film.MP4", "a/z/1.webp"]
    assert names("a") == inside
    assert names("a", "a/link") == names("a", "a/link/d.jpeg") == [*inside, "a/link/d.jpeg"]
    assert names("a/link", "a", "a/link/d.jpeg") == ["a/link/d.jpeg", *inside]


def test_what_lies_beside_an_earlier_folder_is_no_part_of_it(here: Path) -> None:
    assert names("a/z", "a/z/../2.jpg") == ["a/z/1.webp", "a/z/../2.jpg"]


def test_a_folder_is_listed_no_further_than_it_is_read(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Millions of files do not wait in memory: what lies behind the first one has not been looked at."""
    looked_at: list[str] = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: looked_at.append(folder) or scan(folder))
    files = listed_files(["a", "c.png"])
    assert next(files).path == "a/10.JPG"
    assert looked_at == ["a"]


@pytest.mark.parametrize(
    ("content", "separator", "expected"),
    [
        (b"a.jpg\nb c.jpg\n", b"\n", ["a.jpg", "b c.jpg"]),
        (b"a.jpg\r\n\r\nb.jpg", b"\n", ["a.jpg", "b.jpg"]),
        (b"a\nb.jpg\0 c.jpg\0\0", b"\0", ["a\nb.jpg", " c.jpg"]),
        (b"", b"\n", []),
        (b"\xff.jpg\n", b"\n", ["\udcff.jpg"]),
    ],
)
def test_lists_end_their_names_with_lines_or_nul(content: bytes, separator: bytes, expected: list[str]) -> None:
    """A name may hold anything but the separator, bytes that are no text included."""
    assert list(listed_names(io.BytesIO(content), separator)) == expected


def test_names_of_a_list_are_there_as_soon_as_they_have_arrived() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb", buffering=0) as pipe:
        pipe.write(b"first.jpg\nsec")
        names = listed_names(stream, b"\n")
        assert next(names) == "first.jpg"
        pipe.write(b"ond.jpg\n")
        assert next(names) == "second.jpg"
