"""Files of rows: what stands in them, and what is left of them after a kill."""

import io
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from service.errors import OutputUnusable
from service.scoring.row_file import RowFile, RowStream
from service.scoring.row_formats import CsvRows, JsonLinesRows, RowFormat
from service.scoring.rows import ModelFacts, Row
from tests.service.scoring.made_rows import ABOUT, MODEL, answered, refused

FORMATS = [CsvRows(), JsonLinesRows()]
# Names that a format could stumble over.
ODD = ['a "quoted", name.png', "two\nlines.png", "carriage\rreturn.png", "\udcff no text.png", "ünïcode 🚦.png"]


def write(path: Path, form: RowFormat, rows: list[Row], *, resume: bool = False, model: ModelFacts = MODEL) -> RowFile:
    file = RowFile(path, form, resume=resume)
    file.begin(model)
    for row in rows:
        file.write(row)
    file.end()
    return file


def test_csv_has_a_column_for_each_label() -> None:
    """Written out by hand."""
    stream = io.BytesIO()
    writer = RowStream(stream, CsvRows())
    writer.begin(MODEL)
    for row in (answered("a.png"), answered("b.mkv", 0.25, video_frame=12), refused("c.png", 'says "no", twice')):
        writer.write(row)
    writer.end()
    assert stream.getvalue().decode() == (
        "frame,video_frame,video_seconds,width,height,red,green,labels,model,problem,detail\n"
        "a.png,,,30,20,0.75,0.25,red,tiny 0.0.1 float32 3f2a91c0,,\n"
        "b.mkv,12,1.2,30,20,0.25,0.25,,tiny 0.0.1 float32 3f2a91c0,,\n"
        'c.png,,,,,,,,tiny 0.0.1 float32 3f2a91c0,damaged_image,"says ""no"", twice"\n'
    )


def test_json_lines_hold_an_entry_of_the_services_reply_and_the_model() -> None:
    stream = io.BytesIO()
    writer = RowStream(stream, JsonLinesRows())
    writer.begin(MODEL)
    writer.write(answered("b.mkv", video_frame=12))
    writer.write(refused("c.png"))
    video, image = map(json.loads, stream.getvalue().splitlines())
    assert video == {
        "name": "b.mkv",
        "video_frame": 12,
        "video_seconds": 1.2,
        "width": 30,
        "height": 20,
        "probabilities": {"red": 0.75, "green": 0.25},
        "labels": ["red"],
        "model": {"name": "tiny", "version": "0.0.1", "precision": "float32", "fingerprint": "3f2a91c0"},
    }
    assert image["problem"]["code"] == "damaged_image"
    assert image.keys() == {"name", "problem", "model"}


@pytest.mark.parametrize("form", FORMATS)
def test_names_of_any_bytes_come_back(tmp_path: Path, form: RowFormat) -> None:
    path = tmp_path / "rows"
    write(path, form, [answered(name) for name in ODD])
    with path.open("rb") as stream:
        assert [row.path for row in form.written(stream, "rows")] == ODD


@pytest.mark.parametrize("form", FORMATS)
def test_rows_without_an_answer_are_counted_when_a_file_is_gone_on_with(tmp_path: Path, form: RowFormat) -> None:
    path = tmp_path / "rows"
    write(path, form, [refused("a.png"), answered("b.png"), answered("problem.mkv", video_frame=3), refused("c.png")])
    assert RowFile(path, form, resume=True).written.failed == 2


def test_csv_keeps_the_very_bytes_of_a_name(tmp_path: Path) -> None:
    write(tmp_path / "rows.csv", CsvRows(), [answered(os.fsdecode(b"\xff.png"))])
    assert b"\n\xff.png," in (tmp_path / "rows.csv").read_bytes()


@pytest.mark.parametrize("form", FORMATS)
def test_wherever_a_kill_cuts_a_file_off_its_whole_rows_stay_and_it_ends_up_the_same(
    tmp_path: Path, form: RowFormat
) -> None:
    """At every byte."""
    rows = [answered("a.png"), refused(ODD[0], "a\nb"), answered(ODD[1], video_frame=3), answered("end.png", 0.125)]
    write(tmp_path / "whole", form, rows)
    whole = (tmp_path / "whole").read_bytes()
    for cut in range(len(whole) + 1):
        path = tmp_path / "cut"
        path.write_bytes(whole[:cut])
        there = RowFile(path, form, resume=True).written.count
        write(path, form, rows[there:], resume=True)
        assert path.read_bytes() == whole, f"cut at {cut}"


@pytest.mark.parametrize("form", FORMATS)
def test_rows_of_another_model_are_not_gone_on_with(tmp_path: Path, form: RowFormat) -> None:
    path = tmp_path / "rows"
    write(path, form, [answered("a.png")])
    before = path.read_bytes()
    newer = ModelFacts("tiny", "0.0.2", "float32", "00000000", MODEL.thresholds, MODEL.titles)
    with pytest.raises(OutputUnusable, match=r"rows of tiny 0\.0\.1 .* than tiny 0\.0\.2 .*; .* --overwrite"):
        write(path, form, [], resume=True, model=newer)
    assert path.read_bytes() == before


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("changes", [{"fingerprint": "00000000"}, {"precision": "int8", "fingerprint": "11111111"}])
def test_rows_of_another_file_of_the_same_name_and_version_are_not_gone_on_with(
    tmp_path: Path, form: RowFormat, changes: dict[str, str]
) -> None:
    """`roadcue-train export` calls every file street 1.0.0 unless it is told otherwise."""
    path = tmp_path / "rows"
    write(path, form, [answered("a.png")])
    with pytest.raises(OutputUnusable, match=r"holds rows of tiny 0\.0\.1 float32 3f2a91c0 with"):
        write(path, form, [], resume=True, model=replace(MODEL, **changes))


def test_rows_that_do_not_tell_the_file_of_their_model_are_not_gone_on_with(tmp_path: Path) -> None:
    """As those of earlier versions, and of a service that does not tell."""
    path = tmp_path / "rows"
    path.write_text('{"name": "a.png", "model": {"name": "tiny", "version": "0.0.1"}}\n')
    with pytest.raises(OutputUnusable, match=r"holds rows of tiny 0\.0\.1 with"):
        write(path, JsonLinesRows(), [], resume=True)


@pytest.mark.parametrize(
    ("form", "content", "said"),
    [
        (CsvRows(), b"image,car\na.png,1\n", "is no output of roadcue predict: its header is 'image,car'"),
        (JsonLinesRows(), b'{"name": "a"}\n', "line 1 is no row of roadcue predict"),
        (JsonLinesRows(), b"\n", "line 1 is no row of roadcue predict"),
        (
            CsvRows(),
            b"frame,video_frame,video_seconds,width,height,red,labels,model,problem,detail\na.png\n",
            "a row has 1 cells, 10 are named",
        ),
    ],
)
def test_a_file_of_something_else_is_left_alone(tmp_path: Path, form: RowFormat, content: bytes, said: str) -> None:
    path = tmp_path / "foreign"
    path.write_bytes(content)
    with pytest.raises(OutputUnusable, match=said.replace("(", r"\(")):
        RowFile(path, form, resume=True)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("form", "content"),
    [
        (JsonLinesRows(), b'[{"name": "a.png"}]'),
        (JsonLinesRows(), b'{"version": 1, "name": "a.png"}'),
        (JsonLinesRows(), b'{"name": "street", "version": 1}'),
        (JsonLinesRows(), b'{"names": ["street"'),
        (JsonLinesRows(), b"7"),
        (CsvRows(), b"image,car"),
        (CsvRows(), b'frame,"video'),
        (CsvRows(), b'image,"car\na.png,1\n'),
        (CsvRows(), b"frame,video_frame,video_seconds,width,labels"),
    ],
)
def test_a_file_of_something_else_without_a_last_lines_end_is_left_alone(
    tmp_path: Path, form: RowFormat, content: bytes
) -> None:
    """It has no whole row, and neither has a file that a kill cut in its first one: that one begins as ours do."""
    path = tmp_path / "foreign"
    path.write_bytes(content)
    with pytest.raises(OutputUnusable, match=rf"{path}.* is no (output|row) of roadcue predict: "):
        write(path, form, [answered("a.png")], resume=True)
    assert path.read_bytes() == content


def test_nothing_is_touched_before_the_first_row_can_come(tmp_path: Path) -> None:
    """A model that cannot be loaded costs no rows."""
    path = tmp_path / "rows.csv"
    path.write_text("kept until then")
    RowFile(path, CsvRows(), resume=False)
    assert path.read_text() == "kept until then"


def test_each_row_is_in_the_file_at_once(tmp_path: Path) -> None:
    file = RowFile(tmp_path / "rows.csv", CsvRows(), resume=False)
    file.begin(MODEL)
    file.write(answered("a.png"))
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 2
    file.end()


def test_a_full_disk_is_told_in_one_line(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(OutputUnusable, match="/dev/full cannot be written: No space left on device"):
        write(full, CsvRows(), [answered("a.png")])


def test_a_folder_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputUnusable, match="cannot be written: No such file or directory"):
        write(tmp_path / "absent" / "rows.csv", CsvRows(), [])


def test_a_label_called_like_a_column_is_refused(tmp_path: Path) -> None:
    model = ModelFacts(*ABOUT, {"width": 0.5}, {"width": "width"})
    with pytest.raises(OutputUnusable, match=r"labels \['width'\] have the names of other columns"):
        write(tmp_path / "rows.csv", CsvRows(), [], model=model)
