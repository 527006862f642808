import json

import pytest

from model_training.errors import AnnotationError
from model_training.sources import coco, csv_table
from model_training.sources.class_mapping import COCO, ClassMapping
from model_training.sources.declaration import Declaration
from model_training.sources.image_folders import ImageFolders
from model_training.sources.problems import Kind, Problems
from tests.model_training.images import write_image

LABELS = ("pedestrian", "car", "stop_sign", "traffic_light")

# As in instances_val2017.json, by hand: two frames, a car and a crowd in the first, nothing we look for in the second.
REAL_FORMAT = """{
"info": {"description": "COCO 2017 Dataset", "year": 2017},
"licenses": [{"url": "http://creativecommons.org/licenses/by/2.0/", "id": 4, "name": "Attribution License"}],
"images": [
{"license": 4, "file_name": "000000000139.jpg", "height": 400, "width": 640, "date_captured": "2013-11-21", "id": 139},
{"license": 4, "file_name": "000000000285.jpg", "height": 640, "width": 586, "date_captured": "2013-11-18", "id": 285}
],
"annotations": [
{"segmentation": [[64.0, 40.0, 320.0, 40.0, 320.0, 200.0]], "area": 40960, "iscrowd": 0, "image_id": 139,
 "bbox": [64.0, 40.0, 256.0, 160.0], "category_id": 3, "id": 1},
{"segmentation": {"counts": [1, 2], "size": [400, 640]}, "area": 100, "iscrowd": 1, "image_id": 139,
 "bbox": [0, 0, 320, 200], "category_id": 1, "id": 900100000139},
{"segmentation": [], "area": 1, "iscrowd": 0, "image_id": 285, "bbox": [0, 0, 586, 640], "category_id": 23, "id": 3}
],
"categories": [
{"supercategory": "person", "id": 1, "name": "person"},
{"supercategory": "vehicle", "id": 3, "name": "car"},
{"supercategory": "vehicle", "id": 8, "name": "truck"},
{"supercategory": "outdoor", "id": 10, "name": "traffic light"},
{"supercategory": "animal", "id": 23, "name": "bear"}
]
}
"""


@pytest.fixture
def folder(tmp_path):
    write_image(tmp_path / "000000000139.jpg")
    write_image(tmp_path / "000000000285.jpg")
    return tmp_path


def frames(folder, text, on_problem="stop", **declared):
    (folder / "instances.json").write_text(text)
    problems = Problems(on_problem)
    declaration = Declaration("coco", ClassMapping(COCO, {}, LABELS), **(declared or {"complete": True}))
    return list(coco.frames(folder / "instances.json", ImageFolders([folder]), declaration, problems)), problems


def changed(**elements):
    """The real format with elements added to its arrays."""
    document = json.loads(REAL_FORMAT)
    for key, element in elements.items():
        document[key].append(element)
    return json.dumps(document, indent=0)


def test_annotated_categories_are_present_and_the_file_s_other_categories_absent(folder):
    (first, second), _ = frames(folder, REAL_FORMAT)
    assert first.entries == {"car": 1, "pedestrian": 1, "traffic_light": 0}
    assert second.entries == {"car": 0, "pedestrian": 0, "traffic_light": 0}
    assert first.image == folder / "000000000139.jpg"


def test_label_without_a_category_in_the_file_is_unknown(folder):
    """These categories have no stop sign."""
    found, _ = frames(folder, REAL_FORMAT)
    assert all("stop_sign" not in frame.entries for frame in found)


def test_boxes_are_fractions_of_the_annotated_size_and_a_crowd_s_box_counts(folder):
    """The image files have another size: 256 of 640 is 0.4 whatever they were resized to."""
    (first, _), _ = frames(folder, REAL_FORMAT)
    assert first.boxes == {"car": ((0.1, 0.1, 0.5, 0.5),), "pedestrian": ((0.0, 0.0, 0.5, 0.5),)}


def test_frame_knows_the_line_it_is_listed_in(folder):
    found, _ = frames(folder, REAL_FORMAT)
    assert [frame.place for frame in found] == [(folder / "instances.json", line) for line in (5, 6)]


def test_explicit_exhaustive_labels_limit_the_absences(folder):
    (_, second), _ = frames(folder, REAL_FORMAT, exhaustive=frozenset({"stop_sign"}))
    assert second.entries == {"stop_sign": 0}


def test_each_image_is_a_scene_of_its_own(folder):
    found, _ = frames(folder, REAL_FORMAT)
    assert [frame.group for frame in found] == ["coco:000000000139.jpg", "coco:000000000285.jpg"]


def test_copies_of_one_picture_are_one_scene(folder):
    """As Roboflow exports what it has changed."""
    copies = [f"street_jpg.rf.{digit * 32}.jpg" for digit in "ab"]
    for name in copies:
        write_image(folder / name)
    found, _ = frames(folder, REAL_FORMAT.replace("000000000139.jpg", copies[0]).replace("000000000285.jpg", copies[1]))
    assert [frame.group for frame in found] == ["coco:street_jpg.jpg"] * 2


@pytest.mark.parametrize(
    ("added", "message", "kind"),
    [
        ({"annotations": {"image_id": 139, "category_id": 3, "bbox": [0, 0, "wide", 9]}},
         r"annotations\[3\]: bbox.2: .* valid number.* not 'wide'", Kind.BAD_VALUE),
        ({"annotations": {"image_id": 139, "category_id": 3, "bbox": [0, 0, 9]}}, r"bbox.3: field req", Kind.BAD_VALUE),
        ({"annotations": {"image_id": 139, "bbox": [0, 0, 9, 9]}}, r"category_id.*: field required", Kind.BAD_VALUE),
        ({"annotations": [7]}, r"annotations\[3\]: element: ", Kind.BAD_VALUE),
        ({"annotations": {"image_id": 7, "category_id": 3, "bbox": [0, 0, 9, 9]}}, "image_id 7 is not", Kind.BAD_VALUE),
        ({"annotations": {"image_id": 139, "category_id": 99, "bbox": [0, 0, 9, 9]}},
         "category_id 99 is not in this file's categories", Kind.UNKNOWN_CLASS),
        ({"annotations": {"image_id": 139, "category_id": 3, "bbox": [5, 5, 0, 9]}}, "no area", Kind.DEGENERATE_BOX),
        ({"images": {"id": 7, "file_name": "gone.jpg", "width": 1, "height": 1}}, "'gone.jpg'", Kind.MISSING_IMAGE),
        ({"images": {"id": 7, "file_name": "x.jpg", "width": 0, "height": 1}}, "width: .*greater", Kind.BAD_VALUE),
    ],
)  # fmt: skip
def test_problem_stops_with_its_line_or_is_skipped_and_counted(folder, added, message, kind):
    with pytest.raises(AnnotationError, match=r"instances\.json:\d+: .*" + message):
        frames(folder, changed(**added))
    found, problems = frames(folder, changed(**added), on_problem="skip")
    assert problems.counts() == {kind: 1}
    assert len(found) == 2


def test_image_of_two_ids_is_read_with_the_annotations_of_each(folder):
    """What one of them leaves out is no absence, since the table of all sources takes both together."""
    again = changed(images={"id": 7, "file_name": "000000000285.jpg", "width": 10, "height": 10},
                    annotations={"image_id": 7, "category_id": 3, "bbox": [0, 0, 5, 5]})  # fmt: skip
    with pytest.raises(AnnotationError, match=r"image 7 \(000000000285.jpg\) is listed already, in line "):
        frames(folder, again)
    (_, *both), problems = frames(folder, again, on_problem="skip")
    assert [(frame.image.name, frame.entries["car"]) for frame in both] == [
        (f"{285:012}.jpg", 0),
        (f"{285:012}.jpg", 1),
    ]
    assert problems.counts() == {Kind.DUPLICATE: 1}


def test_two_images_of_one_id_are_left_out_since_an_annotation_may_mean_either(folder):
    write_image(folder / "x.jpg")
    alike = changed(images={"id": 139, "file_name": "x.jpg", "width": 1, "height": 1})
    with pytest.raises(AnnotationError, match=r"image 139 \(x.jpg\) is listed already, in line "):
        frames(folder, alike)
    (frame,), problems = frames(folder, alike, on_problem="skip")
    assert frame.image.name == "000000000285.jpg"
    assert problems.counts() == {Kind.DUPLICATE: 1}


def test_unknown_class_is_reported_in_the_line_of_its_annotation(folder):
    text = REAL_FORMAT.replace('"name": "bear"', '"name": "yeti"')
    with pytest.raises(AnnotationError, match=r"instances\.json:13: class 'yeti' is unknown"):
        frames(folder, text)


@pytest.mark.parametrize("bbox", [[0, 0, "wide", 9], [5, 5, 0, 9]])
def test_skipped_annotation_leaves_no_false_absence(folder, bbox):
    """Nobody can say that the frame with the unreadable car has no car."""
    text = changed(annotations={"image_id": 285, "category_id": 3, "bbox": bbox})
    (_, second), _ = frames(folder, text, on_problem="skip")
    assert "car" not in second.entries


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (REAL_FORMAT[:-40], r"instances\.json:\d+: not JSON"),
        ('{"images": []}', r"instances\.json: no COCO instances: categories and images missing"),
        ("[]", r"no COCO instances"),
    ],
)
def test_broken_file_stops_or_yields_nothing(folder, text, message):
    with pytest.raises(AnnotationError, match=message):
        frames(folder, text)
    found, problems = frames(folder, text, on_problem="skip")
    assert found == []
    assert problems.counts() == {Kind.BROKEN_FILE: 1}


@pytest.fixture
def real(streetframes, annotation_formats):
    """What the reader makes of both real files, beside what the label table made from COCO says, by file name."""
    folders = ImageFolders([streetframes / "images/coco_val2017_person", streetframes / "images/coco_subsets"])
    declaration = Declaration("coco", ClassMapping(COCO, {}, LABELS), complete=True)
    found = [
        frame
        for name in ("train", "val")
        for frame in coco.frames(
            annotation_formats / f"coco/instances_{name}2017.json", folders, declaration, Problems("stop")
        )
    ]
    table = {frame.image: frame for frame in csv_table.frames(streetframes, Problems())}
    return [(frame, table[frame.image]) for frame in found]


def test_real_files_give_the_entries_that_the_label_table_has(real):
    assert len(real) == 56
    assert [frame.image.name for frame, expected in real if frame.entries != expected.entries] == []


def test_real_boxes_agree_with_those_of_the_label_table(real):
    """One frame has a truck beside its cars: it may be a car too, so we call its car boxes incomplete."""
    with_truck = "000000462565.jpg"
    for frame, expected in real:
        for label in frame.boxes.keys() | expected.boxes.keys():
            ours, theirs = sorted(frame.boxes.get(label, ())), sorted(expected.boxes.get(label, ()))
            if (frame.image.name, label) == (with_truck, "car"):
                assert not ours
                assert len(theirs) == 7
            else:
                assert [pytest.approx(box, abs=2e-3) for box in theirs] == ours
