import shutil

import pytest

from model_training.errors import AnnotationError, InvalidConfiguration
from model_training.sources import csv_table, yolo
from model_training.sources.class_mapping import COMMON, ClassMapping
from model_training.sources.declaration import Declaration
from model_training.sources.image_folders import ImageFolders
from model_training.sources.problems import Kind, Problems
from tests.model_training.images import write_image

LABELS = ("pedestrian", "car", "stop_sign", "traffic_light")

# As Roboflow exports it, by hand: paths that climb out of the folder they mean.
DATA_YAML = """train: ../train/images
val: ../valid/images
test: ../test/images

nc: 2
names: ['Pole', 'Sign']

roboflow:
  license: CC BY 4.0
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data.yaml").write_text(DATA_YAML)
    for part in ("train", "valid", "test"):
        add(tmp_path, part, "a", "1 0.5 0.5 0.5 0.5\n")
    return tmp_path


def add(folder, part, stem, text=None):
    image = write_image(folder / part / f"images/{stem}.jpg")
    if text is not None:
        labels = folder / part / f"labels/{stem}.txt"
        labels.parent.mkdir(exist_ok=True)
        labels.write_bytes(text.encode())
    return image


def frames(folder, on_problem="stop", images=None, classes=None, exhaustive=("stop_sign",)):
    problems = Problems(on_problem)
    classes = {"Sign": "stop_sign", "Pole": "ignore"} if classes is None else classes
    declaration = Declaration("yolo", ClassMapping(COMMON, classes, LABELS), frozenset(exhaustive))
    return list(yolo.frames(folder / "data.yaml", images, declaration, problems)), problems


def only_frame(folder, text, **more):
    """The one training frame whose label file holds `text`."""
    add(folder, "train", "a", text)
    found, problems = frames(folder, **more)
    return found[0], problems


def test_centre_and_size_become_corners(folder):
    frame, _ = only_frame(folder, "1 0.5 0.25 0.5 0.25\n0 0.1 0.1 0.1 0.1\n")
    assert frame.entries == {"stop_sign": 1}
    assert frame.boxes == {"stop_sign": ((0.25, 0.125, 0.75, 0.375),)}


def test_polygon_becomes_the_box_around_it(folder):
    frame, _ = only_frame(folder, "1 0.1 0.2 0.5 0.3 0.25 0.75")
    assert frame.boxes == {"stop_sign": ((0.1, 0.2, 0.5, 0.75),)}


def test_every_part_is_read_and_only_test_is_test(folder):
    found, _ = frames(folder)
    assert [(frame.image.parent.parent.name, frame.split) for frame in found] == [
        ("train", "train"), ("valid", "train"), ("test", "test")
    ]  # fmt: skip


def test_part_whose_folder_is_missing_is_left_out(folder):
    shutil.rmtree(folder / "test")
    found, _ = frames(folder)
    assert len(found) == 2


@pytest.mark.parametrize("text", [None, "", "\n"])
def test_image_without_objects_is_absent_in_exhaustive_labels(folder, text):
    add(folder, "valid", "b", text)
    found, _ = frames(folder)
    assert found[2].entries == {"stop_sign": 0}


@pytest.mark.parametrize(
    "yaml",
    [
        "path: .\ntrain: train/images\nnames:\n  0: Pole\n  1: Sign\n",
        "train: [train/images]\nnames: {1: Sign, 0: Pole}\n",
        "path: ../{name}\ntrain: train/images\nval:\nnames: [Pole, Sign]\n",
        "train: listing.txt\nnames: [Pole, Sign]\n",
    ],
)
def test_all_ways_of_writing_data_yaml_mean_the_same(folder, yaml):
    (folder / "data.yaml").write_text(yaml.replace("{name}", folder.name))
    (folder / "listing.txt").write_text("./train/images/a.jpg\n")
    (frame,), _ = frames(folder)
    assert frame.entries == {"stop_sign": 1}
    assert frame.image.resolve() == folder / "train/images/a.jpg"


def test_copies_of_one_picture_are_one_scene(folder):
    for part, digest in (("train", "0a1b2c3d4e"), ("train", "ffeeddcc00"), ("test", "1234567890")):
        add(folder, part, f"stop_jpg.rf.{digest}", "")
    found, _ = frames(folder)
    assert sum(frame.group == "yolo:stop_jpg" for frame in found) == 3


def test_images_elsewhere_are_found_without_their_hash_and_only_with_a_label_file(folder):
    add(folder, "train", "X_jpg.rf.2eca2885beb1007a", "1 0.5 0.5 0.1 0.1").unlink()
    image = write_image(folder / "elsewhere/X_jpg.jpg")
    write_image(folder / "elsewhere/not_labelled.jpg")
    found, problems = frames(folder, "skip", ImageFolders([folder / "elsewhere"], "stem"))
    assert [frame.image for frame in found] == [image]
    assert problems.counts() == {Kind.MISSING_IMAGE: 3}


@pytest.mark.parametrize(
    ("text", "message", "kind"),
    [
        ("2 0.5 0.5 0.1 0.1", r"a\.txt:2: class 2 is not in data.yaml; there are 0 Pole, 1 Sign", Kind.BAD_VALUE),
        ("0.5 0.5 0.5 0.1 0.1", r":2: class 0.5 is not in", Kind.BAD_VALUE),
        ("1 320 240 50 60", r":2: coordinates 320 240 50 60 must be fractions", Kind.BAD_VALUE),
        ("1 nan 0.5 0.1 0.1", r":2: coordinates nan", Kind.BAD_VALUE),
        ("1 0.5 0.5 0.1", r":2: 3 coordinates; allowed are 4 \(a box\) and an even number", Kind.BAD_VALUE),
        ("1 0.5 0.5 0.1 0.1 0.9", r":2: 5 coordinates", Kind.BAD_VALUE),
        ("Sign 0.5 0.5 0.1 0.1", r":2: 'Sign 0.5 0.5 0.1 0.1' is not a class and its", Kind.BAD_VALUE),
        ("1 0.5 0.5 0 0.1", r":2: the box of Sign has no area", Kind.DEGENERATE_BOX),
        ("0 0.5 0.5 0.1 0.1", r":2: the object of line 1 once more", Kind.DUPLICATE),
    ],
)
def test_problem_in_a_line_stops_or_is_skipped_and_counted(folder, text, message, kind):
    text = "0 0.5 0.5 0.1 0.1\n" + text
    with pytest.raises(AnnotationError, match=message):
        only_frame(folder, text)
    frame, problems = only_frame(folder, text, on_problem="skip")
    assert problems.counts() == {kind: 1}
    assert frame.entries == ({"stop_sign": 0} if kind is Kind.DUPLICATE else {}), "no false absence"


def test_unknown_class_is_reported_in_its_line(folder):
    with pytest.raises(AnnotationError, match=r"a\.txt:1: class 'Sign' is unknown to source yolo"):
        frames(folder, classes={})


def test_label_file_that_is_no_text_is_broken_and_leaves_everything_unknown(folder):
    (folder / "train/labels/a.txt").write_bytes(b"\xff\xfe\x00")
    (frame, *_), problems = frames(folder, "skip")
    assert frame.entries == {}
    assert problems.counts() == {Kind.BROKEN_FILE: 1}


def test_label_file_without_an_image_is_reported(folder):
    (folder / "train/images/a.jpg").unlink()
    with pytest.raises(AnnotationError, match=r"train/labels/a\.txt: its image a\.\* is not in"):
        frames(folder)


def test_listed_image_that_does_not_exist_is_reported_with_its_line(folder):
    (folder / "data.yaml").write_text("train: listing.txt\nnames: [Pole, Sign]\n")
    (folder / "listing.txt").write_text("./train/images/a.jpg\n./gone.jpg\n")
    with pytest.raises(AnnotationError, match=r"listing\.txt:2: image './gone.jpg' does not exist"):
        frames(folder)


def test_listing_that_is_no_text_is_broken_and_yields_nothing(folder):
    (folder / "data.yaml").write_text("train: listing.txt\nnames: [Pole, Sign]\n")
    (folder / "listing.txt").write_bytes(b"\xff\xfe\x00")
    found, problems = frames(folder, "skip")
    assert found == []
    assert problems.counts() == {Kind.BROKEN_FILE: 1}


def test_frame_knows_where_its_image_is_named_if_anywhere(folder):
    """A folder names no image; a listing does, by line, and the label files do for images that lie elsewhere."""
    assert [frame.place for frame in frames(folder)[0]] == [None] * 3
    elsewhere = ImageFolders([folder / "train/images"])
    assert frames(folder, images=elsewhere)[0][0].place == (folder / "train/labels/a.txt", None)
    (folder / "data.yaml").write_text("train: listing.txt\nnames: [Pole, Sign]\n")
    (folder / "listing.txt").write_text("\n./train/images/a.jpg\n")
    assert [frame.place for frame in frames(folder)[0]] == [(folder / "listing.txt", 2)]


def test_label_file_of_an_image_in_a_format_that_is_not_read_says_which_are(folder):
    image = folder / "train/images/a.jpg"
    image.rename(image.with_suffix(".bmp"))
    with pytest.raises(AnnotationError, match=r"a\.\* is not in .*; read are \.jpeg, \.jpg, \.png, \.webp"):
        frames(folder)


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("train: [", "no YAML file that can be read"),
        ("train: train/images\n", "names: field required"),
        ("names: [Pole]\ntrain: nowhere\n", "none of the folders under train, val and test exists"),
        ("names: [Pole]\ntrain: nowhere.txt\n", "none of the folders under train, val and test exists"),
        ("just text", "data.yaml: "),
        ("names: [Pole]\ntrain: 2024-99-99\n", "no YAML file that can be read: month must be in"),
        ("names: " + "[" * 3000, "no YAML file that can be read: maximum recursion depth"),
        ("names: [Pole]\ntrain: " + "1" * 5000, "no YAML file that can be read: .* 5000 digits"),
        ("names: [Pole]\ntrain: !!bool x\n", "no YAML file that can be read"),
        ("names: [Pole]\ntrain: !!float ''\n", "no YAML file that can be read"),
        ("names: [Pole]\ntrain: !!timestamp x\n", "no YAML file that can be read"),
    ],
)
def test_data_yaml_that_cannot_be_used_is_an_invalid_configuration(folder, yaml, message):
    (folder / "data.yaml").write_text(yaml)
    with pytest.raises(InvalidConfiguration, match=message):
        frames(folder)


def test_real_export_agrees_with_the_label_table(streetframes, annotation_formats):
    """Every frame shows a stop sign in both; 14 label files belong to pictures that are not in the set.

    Two belong to other pictures of the same name, as one sees by drawing their boxes: without its hash a name of this
    export is not unique.
    """
    namesakes = {"stop3_jpg.jpg", "stop5_jpg.jpg"}
    images = ImageFolders([streetframes / "images/stop_rf_ahmet"], "stem")
    table = {frame.image: frame for frame in csv_table.frames(streetframes, Problems())}
    found, problems = frames(annotation_formats / "yolo", "skip", images)
    assert len(found) == 31
    assert problems.counts() == {Kind.MISSING_IMAGE: 14}
    for frame in found:
        expected = table[frame.image]
        assert frame.entries == {"stop_sign": 1} == expected.entries
        if frame.image.name not in namesakes:
            boxes = sorted(frame.boxes["stop_sign"])
            assert [pytest.approx(box, abs=1e-4) for box in sorted(expected.boxes["stop_sign"])] == boxes
