import pytest

from model_training.errors import AnnotationError, InvalidConfiguration
from model_training.sources import csv_table
from model_training.sources.annotated_frame import AnnotatedFrame
from model_training.sources.problems import Kind, Problems
from tests.model_training.images import write_image

HEADER = "image,car,stop_sign,split,group,source,licence\n"


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b", "c"):
        write_image(tmp_path / f"images/{name}.png")
    return tmp_path


def frames(folder, labels, boxes=None, on_problem="stop", **more):
    (folder / "labels.csv").write_bytes(labels.encode())
    if boxes is not None:
        (folder / "boxes.csv").write_text("image,label,x0,y0,x1,y1\n" + boxes)
    problems = Problems(on_problem)
    return list(csv_table.frames(folder, problems, **more)), problems


def test_row_becomes_a_frame_with_its_known_entries_and_boxes(folder):
    found, _ = frames(
        folder,
        HEADER + "images/a.png,1,,train,night,dashcam,CC0-1.0\n",
        "images/a.png,car,0.1,0.2,0.3,0.4\nimages/a.png,car,0.5,0.5,1,1\n",
    )
    boxes = {"car": ((0.1, 0.2, 0.3, 0.4), (0.5, 0.5, 1, 1))}
    image = folder / "images/a.png"
    assert found == [AnnotatedFrame(image, {"car": 1}, "dashcam", "night", boxes, "train", "CC0-1.0")]
    assert found[0].place == (folder / "labels.csv", 2)


def test_empty_entry_is_unknown_and_zero_is_absent(folder):
    (frame,), _ = frames(folder, "image,car,stop_sign,cyclist\nimages/a.png,0,,1\n")
    assert frame.entries == {"car": 0, "cyclist": 1}


def test_what_rows_leave_out_comes_from_the_defaults(folder):
    defaults = csv_table.Defaults("mine", "CC0-1.0", "test")
    (frame,), _ = frames(folder, "image,car\nimages/a.png,1\n", defaults=defaults)
    assert (frame.source, frame.licence, frame.split, frame.group) == ("mine", "CC0-1.0", "test", "mine:images/a.png")


def test_windows_line_ends_and_byte_order_mark_are_read(folder):
    (frame,), _ = frames(folder, "\ufeffimage,car\r\nimages/a.png,1\r\n")
    assert frame.entries == {"car": 1}


@pytest.mark.parametrize(
    ("labels", "message", "kind"),
    [
        ("image,car\nimages/a.png,1\nimages/b.png,yes\n", r":3: car is 'yes'; allowed are 0, 1", Kind.BAD_VALUE),
        ("image,car,split\nimages/a.png,1,val\n", r":2: split is 'val'; allowed are train", Kind.BAD_VALUE),
        ("image,car\nimages/no.png,1\n", r":2: image 'images/no.png' is not a file", Kind.MISSING_IMAGE),
        ("image,car\n,1\n", r":2: image '' is not a file", Kind.MISSING_IMAGE),
        ("image,car\nimages/a.png,1\n\nimages/a.png,0\n", r":4: .* a row already, in line 2", Kind.DUPLICATE),
        ("image,car\nimages/a.png,1,1\n", r":2: 3 cells under a header of 2", Kind.BROKEN_FILE),
        ("picture,car\nimages/a.png,1\n", r":1: the header is 'picture,car'; it needs image", Kind.BROKEN_FILE),
        ("image,car,car\nimages/a.png,1,1\n", r":1: .* each column once", Kind.BROKEN_FILE),
        ("image,Stop Sign\nimages/a.png,1\n", r":1: column 'Stop Sign' is neither", Kind.BAD_VALUE),
        ("", r":1: the header is ''", Kind.BROKEN_FILE),
        ('image,car\n"images/a.png,1\n', r"not a UTF-8 CSV file: unexpected end", Kind.BROKEN_FILE),
    ],
)
def test_problem_in_labels_stops_or_is_skipped_and_counted(folder, labels, message, kind):
    with pytest.raises(AnnotationError, match=r"labels\.csv" + message if message[0] == ":" else message):
        frames(folder, labels)
    _, problems = frames(folder, labels, on_problem="skip")
    assert problems.counts() == {kind: 1}


def test_skipped_row_takes_nothing_else_with_it(folder):
    found, _ = frames(folder, "image,car\nimages/a.png,1\nimages/b.png,2\nimages/c.png,0\n", on_problem="skip")
    assert [frame.image.name for frame in found] == ["a.png", "c.png"]


def test_image_in_two_rows_is_two_frames_with_the_boxes_of_the_first(folder):
    labels = "image,car,stop_sign\nimages/a.png,1,\nimages/a.png,,1\n"
    found, problems = frames(folder, labels, "images/a.png,car,0,0,1,1\n", on_problem="skip")
    assert [frame.entries for frame in found] == [{"car": 1}, {"stop_sign": 1}]
    assert found[0].boxes == {"car": ((0, 0, 1, 1),)}
    assert problems.counts() == {Kind.DUPLICATE: 1}


def test_line_of_a_row_is_right_after_a_quoted_line_break(folder):
    with pytest.raises(AnnotationError, match=r"labels\.csv:4: car is '2'"):
        frames(folder, 'image,car,group\nimages/a.png,1,"two\nlines"\nimages/b.png,2,x\n')


@pytest.mark.parametrize(
    ("row", "message", "kind"),
    [
        ("images/a.png,car,0.5,0.5,0.5,0.9", "has no area inside the frame", Kind.DEGENERATE_BOX),
        ("images/a.png,car,0.5,0.5,x,0.9", "0.5, 0.5, x, 0.9 are not four numbers", Kind.BAD_VALUE),
        ("images/a.png,car,0.5,nan,0.7,0.9", "has no area inside the frame", Kind.DEGENERATE_BOX),
        ("images/a.png,bus,0.1,0.1,0.2,0.2", "label 'bus' is no column", Kind.UNKNOWN_CLASS),
        ("images/z.png,car,0.1,0.1,0.2,0.2", "'images/z.png' has no usable row", Kind.MISSING_IMAGE),
        ("images/a.png,stop_sign,0.1,0.1,0.2,0.2", "says 0 for images/a.png", Kind.CONTRADICTION),
        ("images/b.png,car,0.1,0.1,0.2,0.2", "says unknown for images/b.png", Kind.CONTRADICTION),
    ],
)
def test_problem_in_a_box_stops_or_is_skipped_and_counted(folder, row, message, kind):
    labels = "image,car,stop_sign\nimages/a.png,1,0\nimages/b.png,,0\n"
    with pytest.raises(AnnotationError, match=r"boxes\.csv:2: .*" + message):
        frames(folder, labels, row + "\n")
    _, problems = frames(folder, labels, row + "\n", on_problem="skip")
    assert problems.counts() == {kind: 1}


def test_skipped_box_takes_its_labels_other_boxes_of_that_frame_with_it(folder):
    boxes = "images/a.png,car,0.1,0.1,0.2,0.2\nimages/a.png,car,0.5,0.5,0.5,0.5\nimages/b.png,car,0,0,1,1\n"
    found, _ = frames(folder, "image,car\nimages/a.png,1\nimages/b.png,1\n", boxes, on_problem="skip")
    assert [frame.boxes for frame in found] == [{}, {"car": ((0, 0, 1, 1),)}]


@pytest.mark.parametrize("broken", ["images/a.png,car,0.7,0.7,0.9\n", 'images/a.png,"car\n'])
def test_broken_line_takes_all_boxes_with_it(folder, broken):
    """Nobody can tell whose box it was, and a frame's boxes have to be all there are."""
    boxes = "images/a.png,car,0,0,0.2,0.2\nimages/b.png,car,0,0,1,1\n" + broken
    found, problems = frames(folder, "image,car\nimages/a.png,1\nimages/b.png,1\n", boxes, on_problem="skip")
    assert [frame.boxes for frame in found] == [{}, {}]
    assert problems.counts() == {Kind.BROKEN_FILE: 1}


def test_box_that_leaves_the_frame_is_clipped_and_noted(folder):
    (frame,), problems = frames(folder, "image,car\nimages/a.png,1\n", "images/a.png,car,-0.1,0,0.5,1.2\n")
    assert frame.boxes == {"car": ((0, 0, 0.5, 1),)}
    assert problems.note_counts() == {Kind.CLIPPED_BOX: 1}


def test_folder_without_labels_is_no_label_table(tmp_path):
    with pytest.raises(InvalidConfiguration, match=r"holds no labels\.csv"):
        list(csv_table.frames(tmp_path, Problems()))


def test_real_table_reads_without_a_problem(streetframes):
    """Counts are those of the table's own README and of grep."""
    found = list(csv_table.frames(streetframes, Problems("stop")))
    assert len(found) == 4972
    assert sum(frame.split == "train" and frame.entries.get("pedestrian") == 0 for frame in found) == 323
    assert sum(frame.split == "train" and frame.entries.get("car") == 1 for frame in found) == 398
    assert sum(len(boxes) for frame in found for boxes in frame.boxes.values()) == 8710
