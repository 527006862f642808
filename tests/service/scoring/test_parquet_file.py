"""Parquet, written at the end from rows that outlive a kill."""

from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="needs PyArrow: pip install 'roadcue[parquet]'")

from pyarrow import parquet

from service.errors import OutputUnusable
from service.scoring.parquet_file import ParquetFile, rows_path
from service.scoring.rows import ModelFacts, Row
from tests.service.scoring.made_rows import ABOUT, MODEL, answered, refused

ROWS = [answered("a.png"), answered("b.mkv", 0.25, video_frame=12), refused("\udcff.png")]


def write(path: Path, rows: list[Row], *, resume: bool = False, end: bool = True) -> ParquetFile:
    file = ParquetFile(path, resume=resume)
    file.begin(MODEL)
    for row in rows:
        file.write(row)
    file.end() if end else file.stop()
    return file


def test_each_column_has_its_type(tmp_path: Path) -> None:
    write(tmp_path / "rows.parquet", ROWS)
    table = parquet.read_table(tmp_path / "rows.parquet")
    assert {field.name: str(field.type).replace("element", "item") for field in table.schema} == {
        "frame": "string",
        "video_frame": "int64",
        "video_seconds": "double",
        "width": "int32",
        "height": "int32",
        "red": "double",
        "green": "double",
        "labels": "list<item: string>",
        "model": "string",
        "problem": "string",
        "detail": "string",
    }


def test_rows_stand_as_they_were_scored(tmp_path: Path) -> None:
    write(tmp_path / "rows.parquet", ROWS)
    image, video, refusal = parquet.read_table(tmp_path / "rows.parquet").to_pylist()
    assert (image["frame"], image["width"], image["red"], image["labels"]) == ("a.png", 30, 0.75, ["red"])
    assert (image["video_frame"], image["problem"]) == (None, None)
    assert (video["video_frame"], video["video_seconds"], video["labels"]) == (12, 1.2, [])
    assert (refusal["problem"], refusal["detail"], refusal["red"]) == ("damaged_image", "it is cut", None)
    assert refusal["frame"] == "\\xff.png"
    assert {row["model"] for row in (image, video, refusal)} == {"tiny 0.0.1 float32 3f2a91c0"}


def test_only_the_file_is_left(tmp_path: Path) -> None:
    write(tmp_path / "rows.parquet", ROWS)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]


def test_what_is_stopped_leaves_its_rows_and_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write(path, ROWS[:1], end=False)
    assert [file.name for file in tmp_path.iterdir()] == ["rows.parquet.rows.jsonl"]
    assert ParquetFile(path, resume=True).written.covers("a.png")
    write(path, ROWS[1:], resume=True)
    assert parquet.read_table(path).column("frame").to_pylist() == ["a.png", "b.mkv", "\\xff.png"]


def test_a_finished_file_is_gone_on_with_too(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write(path, ROWS)
    assert write(path, [answered("new.png", 0.125)], resume=True).written.count == 3
    write(tmp_path / "at_once.parquet", [*ROWS, answered("new.png", 0.125)])
    assert parquet.read_table(path).equals(parquet.read_table(tmp_path / "at_once.parquet"))


def test_names_that_are_no_text_are_known_again_in_a_finished_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their bytes stand in the file as \\xff; a file may also be called so, character for character."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "\\xfe.png").touch()
    names = ["\udcff.png", "\\xfe.png", "gr\udcfc\udcdf.png", "\\xc3\\xa9.png"]
    write(tmp_path / "rows.parquet", [answered(name) for name in names])
    written = ParquetFile(tmp_path / "rows.parquet", resume=True).written
    assert [written.covers(name) for name in names] == [True] * 4


def test_rows_without_an_answer_are_counted_when_a_finished_file_is_gone_on_with(tmp_path: Path) -> None:
    """ROWS holds one that was refused."""
    write(tmp_path / "rows.parquet", ROWS)
    assert ParquetFile(tmp_path / "rows.parquet", resume=True).written.failed == 1


def test_a_kill_between_the_last_row_and_the_file_costs_nothing(tmp_path: Path) -> None:
    """The rows are there, an unfinished file too, and an old one is not taken for it."""
    path = tmp_path / "rows.parquet"
    write(path, [answered("old.png")])
    write(path, ROWS, end=False)
    (tmp_path / "rows.parquet.tmp").write_bytes(b"PAR1 and no more")
    write(path, [], resume=True)
    assert parquet.read_table(path).num_rows == 3
    assert [file.name for file in tmp_path.iterdir()] == ["rows.parquet"]


def test_a_foreign_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"not parquet")
    with pytest.raises(OutputUnusable, match="cannot be gone on with"):
        ParquetFile(path, resume=True)
    assert path.read_bytes() == b"not parquet"
    assert not rows_path(path).exists()


def test_without_the_library_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(OutputUnusable, match=r"pip install 'roadcue\[parquet\]', or choose --format jsonl"):
        ParquetFile(tmp_path / "rows.parquet", resume=False)


def test_a_label_called_like_a_column_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    file = ParquetFile(tmp_path / "rows.parquet", resume=False)
    with pytest.raises(OutputUnusable, match="have the names of other columns"):
        file.begin(ModelFacts(*ABOUT, {"detail": 0.5}, {"detail": "detail"}))
