import numpy as np
import pytest

from model_training.errors import AnnotationError
from model_training.teacher.file import NOTHING_FOUND, Hint, read_teacher
from tests.model_training.tables import table_of


@pytest.fixture
def table(tmp_path):
    """Two images beside teacher.csv, which need not be there to be told apart."""
    images = (tmp_path / "images/a.jpg", tmp_path / "images/b.jpg")
    return table_of([[-1, -1], [-1, -1]], labels=("car", "stop_sign"), images=images)


def scores_in(path, text, table):
    path.write_bytes(text.encode())
    return read_teacher(path, table).scores_NL


def test_scores_are_found_by_image_and_label(tmp_path, table):
    """Rows and columns may stand in any order; other images and other columns are passed over."""
    text = "stop_sign,image,bus\n0.25,images/b.jpg,x\n1,images/other.jpg,x\n0,images/../images/a.jpg,x\n"
    found = scores_in(tmp_path / "teacher.csv", text, table)
    assert found[:, 1].tolist() == [0, 0.25]
    assert np.isnan(found[:, 0]).all()


def test_empty_scores_and_missing_images_are_nothing_said(tmp_path, table):
    found = scores_in(tmp_path / "teacher.csv", "image,car,stop_sign\nimages/a.jpg,,0.5\n", table)
    assert np.isnan(found).tolist() == [[True, False], [True, True]]


def test_file_about_other_images_is_an_error(tmp_path, table):
    """Moved elsewhere, its paths lead to nothing; without a word it would teach, or compare, nothing."""
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(AnnotationError) as refused:
        scores_in(tmp_path / "elsewhere/teacher.csv", "image,car\nimages/a.jpg,0.5\nimages/b.jpg,0.5\n", table)
    assert str(refused.value) == (
        f"{tmp_path}/elsewhere/teacher.csv: none of its 2 rows is about one of the 2 images of the data; "
        f"its image paths are relative to its folder, {tmp_path}/elsewhere"
    )


def test_file_about_other_labels_is_an_error(tmp_path, table):
    with pytest.raises(AnnotationError, match=r"columns are image, tram; none is a label of the data: car, stop_sign"):
        scores_in(tmp_path / "teacher.csv", "image,tram\nimages/a.jpg,0.5\n", table)


def test_boxes_of_other_labels_are_an_error(tmp_path, table):
    """They would say of every label that a detector looked for it and found nothing."""
    text = "image,label,score,x0,y0,x1,y1\nimages/a.jpg,tram,0.5,0,0,1,1\n"
    with pytest.raises(AnnotationError, match="its boxes are of tram; none is a label of the data: car, stop_sign"):
        scores_in(tmp_path / "teacher.csv", text, table)


def test_boxes_of_which_there_are_none_say_that_nothing_was_found(tmp_path, table):
    found = scores_in(tmp_path / "teacher.csv", "image,label,score,x0,y0,x1,y1\nimages/a.jpg,,,,,,\n", table)
    assert found[0].tolist() == pytest.approx([NOTHING_FOUND] * 2)


def test_byte_order_mark_and_windows_line_ends_are_read(tmp_path, table):
    found = scores_in(tmp_path / "teacher.csv", "\ufeffimage,car\r\nimages/a.jpg,0.5\r\n", table)
    assert found[0, 0] == 0.5


@pytest.mark.parametrize("score", ["1.5", "-0.1", "high", "nan", "inf"])
def test_bad_score_is_reported_with_file_and_line(tmp_path, table, score):
    with pytest.raises(AnnotationError, match=rf"teacher\.csv:3: the score is '{score}'; it must be within 0\.\.1"):
        scores_in(tmp_path / "teacher.csv", f"image,car\nimages/b.jpg,0.5\nimages/a.jpg,{score}\n", table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frame,car\nimages/a.jpg,0.5\n", r"teacher\.csv:1: the header is 'frame,car'; it needs image"),
        ("", r"teacher\.csv:1: the header is ''; it needs image"),
        ("car,image\n0.5\n", r"teacher\.csv:2: 1 cells under a header of 2"),
        (
            "image,car\nimages/a.jpg,0\nimages/a.jpg,1\n",
            r"teacher\.csv:3: image images/a\.jpg has a row already, in line",
        ),
    ],
)
def test_broken_file_is_reported_with_file_and_line(tmp_path, table, text, message):
    with pytest.raises(AnnotationError, match=message):
        scores_in(tmp_path / "teacher.csv", text, table)


def test_file_of_other_bytes_is_reported(tmp_path, table):
    (tmp_path / "teacher.csv").write_bytes(b"image,car\n\xff\xfe,1\n")
    with pytest.raises(AnnotationError, match=r"teacher\.csv: not a UTF-8 CSV file"):
        read_teacher(tmp_path / "teacher.csv", table)


BOXES = "image,label,score,x0,y0,x1,y1\n"


def test_best_box_is_the_score_and_no_box_is_a_low_one(tmp_path, table):
    text = BOXES + "images/a.jpg,car,0.3,0.1,0.1,0.2,0.2\nimages/a.jpg,car,0.8,0.5,0.5,0.75,1\nimages/b.jpg,,,,,,\n"
    (tmp_path / "boxes.csv").write_text(text)
    found = read_teacher(tmp_path / "boxes.csv", table)
    assert found.scores_NL == pytest.approx(np.array([[0.8, 0.01], [0.01, 0.01]]))
    assert found.boxes[0]["car"] == (Hint((0.1, 0.1, 0.2, 0.2), 0.3), Hint((0.5, 0.5, 0.75, 1.0), 0.8))
    assert found.boxes[1] == {}


def test_image_without_a_row_of_boxes_was_not_looked_at(tmp_path, table):
    (tmp_path / "boxes.csv").write_text(BOXES + "images/a.jpg,car,0.8,0.5,0.5,0.75,1\n")
    found = read_teacher(tmp_path / "boxes.csv", table)
    assert np.isnan(found.scores_NL).tolist() == [[False, False], [True, True]]


@pytest.mark.parametrize("corners", ["0.5,0.5,0.5,0.8", "0.6,0,0.5,1", "a,0,1,1", "1.2,0,1.4,1"])
def test_box_without_area_is_reported_with_file_and_line(tmp_path, table, corners):
    (tmp_path / "boxes.csv").write_text(BOXES + f"images/a.jpg,car,0.3,{corners}\n")
    with pytest.raises(AnnotationError, match=r"boxes\.csv:2: the box is .* must be x0 < x1"):
        read_teacher(tmp_path / "boxes.csv", table)
