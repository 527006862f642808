"""A CSV file is read whole with clear refusals, and replaced whole."""

import os
from pathlib import Path

import pytest

from service.errors import UnreadableLabelTable
from service.label_folder.csv_file import CsvFile, read_csv, replace_file


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """Commas, quotes, line feeds and other scripts included."""
    row = {"image": 'a, "b"\nc.jpg', "car": "1", "group": "Straße 東"}
    file = CsvFile(["image", "car", "group"], {row["image"]: row})
    (tmp_path / "labels.csv").write_bytes(file.encoded())
    assert read_csv(tmp_path / "labels.csv", ()).rows == {row["image"]: row}


def test_bytes_that_are_no_text_are_written_out(tmp_path: Path) -> None:
    """Python has the byte ff of a folder's name as the surrogate dcff."""
    file = CsvFile(["image", "group"], {"a.jpg": {"image": "a.jpg", "group": os.fsdecode(b"drive \xff")}})
    assert file.encoded() == b"image,group\na.jpg,drive \\udcff\n"


def test_what_is_not_there_is_empty_with_the_columns_asked_for(tmp_path: Path) -> None:
    assert read_csv(tmp_path / "labels.csv", ["image", "split"]) == CsvFile(["image", "split"])


def test_what_a_spreadsheet_writes_is_read(tmp_path: Path) -> None:
    """A byte order mark, other line ends, spaces around cells and an empty line at the end."""
    (tmp_path / "labels.csv").write_bytes(b"\xef\xbb\xbfimage , car\r\na.jpg, 1\r\n\r\n")
    assert read_csv(tmp_path / "labels.csv", ()).rows == {"a.jpg": {"image": "a.jpg", "car": "1"}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"picture,car\na.jpg,1\n", "the header is 'picture,car'; it needs image"),
        (b"image,car,car\n", "each column once"),
        (b"image,car\na.jpg,1\nb.jpg\n", "row 3 has 1 cells under a header of 2"),
        (b"image,car\na.jpg,1\na.jpg,0\n", "two rows for the image a.jpg"),
        (b"image\n\xff\xfe.jpg\n", "not a UTF-8 CSV file"),
        (b'image,car\n"a.jpg,1\n', "not a UTF-8 CSV file"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(UnreadableLabelTable, match=said):
        read_csv(tmp_path / "labels.csv", ())


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    replace_file(tmp_path / "labels.csv", b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace_file(tmp_path / "labels.csv", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("labels.csv", b"old")]


def test_columns_are_added_once_and_where_they_are_wanted() -> None:
    file = CsvFile(["image", "car", "split"])
    file.add_columns(["car", "sign"], before="split")
    file.add_columns(["group"], before="absent")
    assert file.columns == ["image", "car", "sign", "split", "group"]
