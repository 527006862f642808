import json

import pytest

from model_training.errors import AnnotationError
from model_training.sources import bdd100k
from model_training.sources.class_mapping import BDD100K, ClassMapping
from model_training.sources.declaration import Declaration
from model_training.sources.image_folders import ImageFolders
from model_training.sources.problems import Kind, Problems
from tests.model_training.images import write_image

LABELS = ("pedestrian", "car", "stop_sign", "traffic_light")

# As in det_20/det_val.json, by hand: box2d in pixels of 1280x720 images, poly2d, attributes, labels null.
REAL_FORMAT = """[
    {
        "name": "b1c66a42-6f7d68ca.jpg",
        "attributes": {"weather": "overcast", "scene": "city street", "timeofday": "daytime"},
        "timestamp": 10000,
        "labels": [
            {"id": "0", "category": "traffic sign", "attributes": {"occluded": false, "trafficLightColor": "NA"},
             "box2d": {"x1": 1000.7, "y1": 281.9, "x2": 1040.9, "y2": 326.9}},
            {"id": "1", "category": "car", "attributes": {"occluded": false, "truncated": false, "crowd": false},
             "box2d": {"x1": 128, "y1": 72, "x2": 640, "y2": 360}},
            {"id": "2", "category": "lane/single white", "attributes": {"laneDirection": "parallel"},
             "poly2d": [{"vertices": [[0, 700], [600, 400]], "types": "LL", "closed": false}]}
        ]
    },
    {
        "name": "b1c66a42-0000002.jpg", "videoName": "b1c66a42", "frameIndex": 1,
        "labels": [
            {"id": "3", "category": "person", "poly2d":
                [{"vertices": [[128, 72], [256, 144]], "types": "LL", "closed": true},
                 {"vertices": [[192, 360]], "types": "C", "closed": true}]},
            {"id": "4", "category": "rider", "box2d": {"x1": 0, "y1": 0, "x2": 9, "y2": 9}}
        ]
    },
    {"name": "b1c66a42-0000003.jpg", "videoName": "b1c66a42", "frameIndex": 2, "labels": []},
    {"name": "b1c66a42-0000004.jpg", "videoName": "b1c66a42", "frameIndex": 3, "labels": null}
]
"""
NAMES = ("b1c66a42-6f7d68ca.jpg", "b1c66a42/b1c66a42-0000002.jpg", "b1c66a42-0000003.jpg", "b1c66a42-0000004.jpg")


@pytest.fixture
def folder(tmp_path):
    for name in NAMES:
        write_image(tmp_path / name, size=(1280, 720))
    return tmp_path


def frames(folder, text, on_problem="stop", **declared):
    (folder / "det_val.json").write_text(text)
    problems = Problems(on_problem)
    declaration = Declaration("bdd", ClassMapping(BDD100K, {}, LABELS), **(declared or {"complete": True}))
    return list(bdd100k.frames(folder / "det_val.json", ImageFolders([folder]), declaration, problems)), problems


def one_frame(*labels, **more):
    return json.dumps([{"name": NAMES[0], "labels": list(labels), **more}], indent=0)


def test_categories_become_labels_and_a_traffic_sign_says_nothing_on_stop_signs(folder):
    """No frame shows a traffic light anywhere, so the file is not known to look for them."""
    (first, *_), _ = frames(folder, REAL_FORMAT)
    assert first.entries == {"car": 1, "pedestrian": 0}


def test_stop_sign_declared_exhaustive_is_absent_only_where_there_is_no_traffic_sign(folder):
    (first, second, *_), _ = frames(folder, REAL_FORMAT, exhaustive=frozenset({"stop_sign"}))
    assert "stop_sign" not in first.entries
    assert second.entries["stop_sign"] == 0


def test_rider_may_be_a_pedestrian(folder):
    text = one_frame({"category": "rider", "box2d": {"x1": 0, "y1": 0, "x2": 9, "y2": 9}})
    (frame,), _ = frames(folder, text, exhaustive=frozenset({"pedestrian", "car"}))
    assert frame.entries == {"car": 0}


def test_boxes_and_polygons_become_fractions_of_the_image(folder):
    (first, *_), _ = frames(folder, REAL_FORMAT)
    assert first.boxes == {"car": ((0.1, 0.1, 0.5, 0.5),)}
    polygons = [{"vertices": [[128, 72], [256, 144]]}, {"vertices": [[192, 360]]}]
    (frame,), _ = frames(folder, one_frame({"category": "person", "poly2d": polygons}))
    assert frame.boxes == {"pedestrian": ((0.1, 0.1, 0.2, 0.5),)}


def test_size_in_the_file_goes_before_the_image_s_own(folder):
    label = {"category": "car", "box2d": {"x1": 0, "y1": 0, "x2": 320, "y2": 90}}
    (frame,), _ = frames(folder, one_frame(label, size={"width": 640, "height": 360}))
    assert frame.boxes == {"car": ((0, 0, 0.5, 0.25),)}
    config = {"config": {"imageSize": {"width": 320, "height": 90}, "categories": []}}
    (frame,), _ = frames(folder, json.dumps({"frames": json.loads(one_frame(label))} | config))
    assert frame.boxes == {"car": ((0, 0, 1, 1),)}


def test_frames_of_one_video_are_one_scene(folder):
    found, _ = frames(folder, REAL_FORMAT)
    assert [frame.group for frame in found] == ["bdd:b1c66a42-6f7d68ca.jpg", *["bdd:b1c66a42"] * 3]


def test_image_is_found_in_the_folder_of_its_video(folder):
    found, _ = frames(folder, REAL_FORMAT)
    assert [frame.image for frame in found] == [folder / name for name in NAMES]


def test_empty_labels_are_absences_and_null_labels_are_unknown(folder):
    (*_, empty, null), _ = frames(folder, REAL_FORMAT)
    assert empty.entries == {"car": 0, "pedestrian": 0}
    assert null.entries == {}


def test_label_without_a_shape_is_present_without_boxes(folder):
    (frame,), _ = frames(folder, one_frame({"category": "car", "box3d": {}}))
    assert (frame.entries, frame.boxes) == ({"car": 1}, {})


@pytest.mark.parametrize(
    ("text", "message", "kind"),
    [
        (one_frame({"category": "ufo"}), r":2: class 'ufo' is unknown to source bdd", Kind.UNKNOWN_CLASS),
        (one_frame({"category": "car", "box2d": {"x1": 0}}), r":2: frames\[0\]: labels.0.box2d.y1: ", Kind.BAD_VALUE),
        (one_frame({"category": "car", "box2d": {"x1": 5, "y1": 5, "x2": 5, "y2": 9}}), "no area", Kind.DEGENERATE_BOX),
        ('[\n{"name": "gone.jpg", "labels": []}]', r":2: image 'gone.jpg' is not in", Kind.MISSING_IMAGE),
        ('[\n{"labels": []}]', r":2: frames\[0\]: name: field required", Kind.BAD_VALUE),
        (f'[{{"name": "{NAMES[0]}"}},\n{{"name": "{NAMES[0]}"}}]', r":2: .* already, in line 1", Kind.DUPLICATE),
        ("[{]", r":1: not JSON", Kind.BROKEN_FILE),
        ('{"images": [{}]}', r"no Scalabel frames", Kind.BROKEN_FILE),
    ],
)
def test_problem_stops_with_its_line_or_is_skipped_and_counted(folder, text, message, kind):
    with pytest.raises(AnnotationError, match=message):
        frames(folder, text)
    _, problems = frames(folder, text, on_problem="skip")
    assert problems.counts() == {kind: 1}


def test_frame_listed_twice_is_read_twice(folder):
    """So that a label is absent only where both say so, in the table of all sources."""
    box = {"x1": 0, "y1": 0, "x2": 9, "y2": 9}
    listed = [json.loads(one_frame({"category": name, "box2d": box}))[0] for name in ("car", "pedestrian")]
    found, problems = frames(folder, json.dumps(listed), on_problem="skip")
    assert [frame.entries for frame in found] == [{"car": 1, "pedestrian": 0}, {"car": 0, "pedestrian": 1}]
    assert problems.counts() == {Kind.DUPLICATE: 1}


def test_image_without_a_readable_size_is_broken_and_its_frame_is_named(folder):
    """The frame is the second line of the file."""
    (folder / NAMES[0]).write_text("no image")
    found, problems = frames(folder, one_frame({"category": "car"}), on_problem="skip")
    assert found == []
    assert problems.counts() == {Kind.BROKEN_IMAGE: 1}
    assert str(problems.found[0]).startswith(f"{folder / 'det_val.json'}:2: image {folder / NAMES[0]} cannot be used")


def test_frame_knows_the_line_it_is_annotated_in_also_with_null_labels(folder):
    found, _ = frames(folder, REAL_FORMAT)
    assert [frame.place for frame in found] == [(folder / "det_val.json", line) for line in (2, 15, 24, 25)]


def test_toolkit_s_own_examples_are_read(annotation_formats, tmp_path):
    """Expected by looking into the files: four cars as polygons; an other person and a person, then null labels."""
    for name in ("b1c81faa-3df17267-0000001", "00091078-875c1f73-0000166", "00091078-875c1f73-0000167"):
        write_image(tmp_path / f"{name}.jpg", size=(1280, 720))
    declaration = Declaration("bdd", ClassMapping(BDD100K, {}, LABELS), complete=True)
    examples = annotation_formats / "bdd100k"

    (cars,) = bdd100k.frames(examples / "example_annotation.json", ImageFolders([tmp_path]), declaration, Problems())
    assert cars.entries == {"car": 1}
    assert len(cars.boxes["car"]) == 4

    people, nobody = bdd100k.frames(
        examples / "example_ignore_annotation.json", ImageFolders([tmp_path]), declaration, Problems()
    )
    assert people.entries == {"pedestrian": 1}
    assert nobody.entries == {}
    assert people.group == nobody.group == "bdd:00091078-875c1f73"
