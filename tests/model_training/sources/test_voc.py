import pytest

from model_training.errors import AnnotationError, InvalidConfiguration
from model_training.sources import csv_table, voc
from model_training.sources.class_mapping import COMMON, ClassMapping
from model_training.sources.declaration import Declaration
from model_training.sources.image_folders import ImageFolders
from model_training.sources.problems import Kind, Problems
from tests.model_training.images import write_image

LABELS = ("pedestrian", "car", "stop_sign", "traffic_light")

# As LabelImg and the VOC development kit write it, by hand.
REAL_FORMAT = """<annotation>
    <folder>images</folder>
    <filename>road1.png</filename>
    <source><database>Unknown</database></source>
    <size>
        <width>200</width>
        <height>100</height>
        <depth>3</depth>
    </size>
    <segmented>0</segmented>
    <object>
        <name>trafficlight</name>
        <pose>Unspecified</pose>
        <truncated>0</truncated>
        <difficult>1</difficult>
        <bndbox>
            <xmin>20</xmin>
            <ymin>10</ymin>
            <xmax>100</xmax>
            <ymax>50</ymax>
        </bndbox>
    </object>
    <object>
        <name>speedlimit</name>
        <bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>
    </object>
</annotation>
"""


@pytest.fixture
def folder(tmp_path):
    write_image(tmp_path / "images/road1.png", size=(100, 50))
    (tmp_path / "annotations").mkdir()
    return tmp_path


def frames(folder, *texts, on_problem="stop", match="name"):
    for number, text in enumerate(texts, start=1):
        (folder / f"annotations/road{number}.xml").write_bytes(text.encode())
    problems = Problems(on_problem)
    declaration = Declaration("voc", ClassMapping(COMMON, {}, LABELS), frozenset({"traffic_light", "stop_sign"}))
    images = ImageFolders([folder / "images"], match)
    return list(voc.frames(folder / "annotations", images, declaration, problems)), problems


def test_objects_become_entries_and_boxes_in_fractions_of_the_annotated_size(folder):
    """Difficult objects count; speedlimit is known to say nothing."""
    (frame,), _ = frames(folder, REAL_FORMAT)
    assert frame.image == folder / "images/road1.png"
    assert frame.entries == {"stop_sign": 0, "traffic_light": 1}
    assert frame.boxes == {"traffic_light": ((0.1, 0.1, 0.5, 0.5),)}
    assert frame.group == "voc:road1"
    assert frame.place == (folder / "annotations/road1.xml", 3)


@pytest.mark.parametrize(
    "size", ["", "<size><width>0</width><height>0</height></size>", "<size><width>many</width></size>"]
)
def test_size_that_is_missing_is_read_from_the_image(folder, size):
    """Half the annotated size: 20 of 100 pixels."""
    before, rest = REAL_FORMAT.split("<size>")
    (frame,), _ = frames(folder, before + size + rest.split("</size>")[1])
    assert frame.boxes == {"traffic_light": ((0.2, 0.2, 1.0, 1.0),)}


def test_object_without_a_box_is_present_without_boxes(folder):
    text = REAL_FORMAT.replace("<bndbox>", "<mask>").replace("</bndbox>", "</mask>")
    (frame,), _ = frames(folder, text)
    assert (frame.entries, frame.boxes) == ({"stop_sign": 0, "traffic_light": 1}, {})


def test_image_whose_suffix_changed_is_found_by_stem(folder):
    text = REAL_FORMAT.replace("road1.png", "road1.jpeg")
    (frame,), _ = frames(folder, text, match="stem")
    assert frame.image.name == "road1.png"


def test_file_s_own_name_finds_the_image_that_an_old_name_inside_does_not(folder):
    (frame,), _ = frames(folder, REAL_FORMAT.replace("road1.png", "IMG_7.png"))
    assert frame.image.name == "road1.png"


@pytest.mark.parametrize(
    ("text", "message", "kind"),
    [
        (REAL_FORMAT[:-30], r"road1\.xml:\d+: not XML", Kind.BROKEN_FILE),
        ("", r"road1\.xml.*not XML", Kind.BROKEN_FILE),
        ("<html></html>", r"road1\.xml:1: the root is 'html'", Kind.BROKEN_FILE),
        (REAL_FORMAT.replace("road1.png", "gone.png"), r"road1\.xml:3: image 'gone.png'", Kind.MISSING_IMAGE),
        (REAL_FORMAT.replace("speedlimit", "ufo"), r"road1\.xml:23: class 'ufo' is unknown", Kind.UNKNOWN_CLASS),
        (REAL_FORMAT.replace("speedlimit", " "), r"road1\.xml:23: an object has no name", Kind.BAD_VALUE),
        (REAL_FORMAT.replace("<ymin>10", "<ymin>ten"), r"road1\.xml:18: ymin is 'ten'", Kind.BAD_VALUE),
        (REAL_FORMAT.replace("<ymin>10</ymin>", ""), r"road1\.xml:16: a bndbox has no ymin", Kind.BAD_VALUE),
        (REAL_FORMAT.replace("<ymin>10", "<ymin>50"), r"road1\.xml:11: the box of trafficlight", Kind.DEGENERATE_BOX),
    ],
)
def test_problem_stops_with_its_line_or_is_skipped_and_counted(folder, text, message, kind):
    if kind is Kind.MISSING_IMAGE:
        (folder / "images/road1.png").rename(folder / "images/other.png")
    with pytest.raises(AnnotationError, match=message):
        frames(folder, text)
    _, problems = frames(folder, text, on_problem="skip")
    assert problems.counts() == {kind: 1}


def test_two_files_for_one_image_are_a_duplicate(folder):
    with pytest.raises(AnnotationError, match=r"road2\.xml: image .*road1\.png is annotated already, in .*road1\.xml"):
        frames(folder, REAL_FORMAT, REAL_FORMAT)
    found, problems = frames(folder, REAL_FORMAT, REAL_FORMAT.replace("trafficlight", "stop"), on_problem="skip")
    assert [frame.entries for frame in found] == [
        {"traffic_light": 1, "stop_sign": 0},
        {"traffic_light": 0, "stop_sign": 1},
    ]
    assert problems.counts() == {Kind.DUPLICATE: 1}


def test_entities_are_not_expanded(folder):
    """An annotation file must not read other files of the machine."""
    (folder / "secret.txt").write_text("trafficlight")
    doctype = f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{folder}/secret.txt">]>'
    text = doctype + REAL_FORMAT.replace("<name>trafficlight", "<name>&x;")
    with pytest.raises(AnnotationError, match="an object has no name"):
        frames(folder, text)


def test_folder_without_annotations_is_no_source(folder):
    with pytest.raises(InvalidConfiguration, match=r"holds no VOC annotations"):
        frames(folder)


def test_real_files_agree_with_the_label_table(streetframes, annotation_formats):
    """The table leaves two lights unknown that were too small to see; nothing contradicts, boxes agree."""
    images = ImageFolders([streetframes / "images/roadsign_kaggle"], "stem")
    declaration = Declaration("voc", ClassMapping(COMMON, {}, LABELS), frozenset({"traffic_light", "stop_sign"}))
    problems = Problems("skip")
    table = {frame.image: frame for frame in csv_table.frames(streetframes, Problems())}
    found = list(voc.frames(annotation_formats / "voc", images, declaration, problems))
    assert len(found) == 59
    assert [problem.file.name for problem in problems.found] == ["road147.xml"], "its image is not in the set"
    for frame in found:
        expected = table[frame.image]
        assert expected.entries.items() <= frame.entries.items()
        for label, boxes in expected.boxes.items():
            assert [pytest.approx(box, abs=1e-4) for box in sorted(boxes)] == sorted(frame.boxes[label])
