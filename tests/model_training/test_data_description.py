import json

import pytest
from PIL import Image

from model_training import data_description
from model_training.configuration import TrainingConfiguration
from model_training.errors import AnnotationError, InvalidConfiguration
from model_training.sources.problems import Kind
from tests.model_training.images import write_image

COCO = {
    "images": [{"id": 1, "file_name": "a.png", "width": 100, "height": 50}],
    "annotations": [{"image_id": 1, "category_id": 3, "bbox": [0, 0, 50, 50]}],
    "categories": [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}, {"id": 2, "name": "bicycle"}],
}
TABLE_AND_COCO = """
[[sources]]
format = "table"
path = "table"

[[sources]]
format = "coco"
name = "mine"
annotations = "instances.json"
images = "images"
licence = "CC-BY-4.0"
split = "train"
"""


@pytest.fixture
def folder(tmp_path):
    """A label table with picture 1 and a COCO file with pictures 1 and nothing else."""
    write_image(tmp_path / "images/a.png", 1)
    write_image(tmp_path / "table/a.png", 1)
    write_image(tmp_path / "table/b.png", 2)
    (tmp_path / "table/labels.csv").write_text("image,car,stop_sign,licence\na.png,0,1,CC0-1.0\nb.png,1,,CC0-1.0\n")
    (tmp_path / "instances.json").write_text(json.dumps(COCO))
    return tmp_path


def load(folder, text):
    (folder / "data.toml").write_text(text)
    return data_description.load(folder / "data.toml")


def test_sources_of_two_formats_merge_into_one_table(folder):
    """Both know picture 1: the table says no car, COCO says car; only the table knows stop signs."""
    table, problems = load(folder, TABLE_AND_COCO)
    assert table.labels == ("pedestrian", "car", "stop_sign", "traffic_light")
    assert table.entries_NL.tolist() == [[0, -1, 1, -1], [-1, 1, -1, -1]]
    assert [(conflict.label, conflict.present, conflict.absent) for conflict in table.conflicts] == [
        ("car", ("mine",), ("table",))
    ]
    assert table.sources == ("table+mine", "table")
    assert table.licences == ("CC0-1.0 AND CC-BY-4.0", "CC0-1.0")
    assert table.splits == ("train", "")
    assert problems.note_counts() == {Kind.SAME_FRAME: 1}


def test_sources_that_would_go_by_one_name_are_refused_until_they_have_their_own(folder):
    """Two exports called instances.json: scenes are told apart by the name of their source."""
    (folder / "more").mkdir()
    (folder / "more/instances.json").write_text(json.dumps(COCO))
    source = '[[sources]]\nformat = "coco"\nannotations = "{}"\nimages = "images"\n'
    text = source.format("instances.json") + source.format("more/instances.json")
    with pytest.raises(InvalidConfiguration, match="two sources are called 'instances'; give each a `name`"):
        load(folder, text)
    named = text.replace("[[sources]]", '[[sources]]\nname = "one"', 1)
    assert load(folder, named)[0].sources == ("one+instances",)


def test_label_is_added_in_one_line(folder):
    """COCO has bicycles and no cyclists; the table has neither."""
    before, _ = load(folder, TABLE_AND_COCO)
    after, _ = load(folder, 'labels = ["car", "bicycle", "cyclist"]\n' + TABLE_AND_COCO)
    assert "bicycle" not in before.labels
    assert after.entries_NL.tolist() == [[-1, 0, -1], [1, -1, -1]]


def test_column_of_a_label_table_adds_a_label(folder):
    (folder / "table/labels.csv").write_text("image,car,cyclist\na.png,0,1\nb.png,1,0\n")
    table, _ = load(folder, 'labels = ["cyclist"]\nsources = [{format = "table", path = "table"}]')
    assert table.entries_NL.tolist() == [[1], [0]]


def test_folder_with_labels_stands_for_its_own_description(folder):
    table, _ = data_description.load(folder / "table")
    assert table.entries_NL.tolist() == [[-1, 0, 1, -1], [-1, 1, -1, -1]]
    assert table.sources == ("table", "table")


def test_relative_paths_start_at_the_description(folder, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert len(load(folder, TABLE_AND_COCO)[0]) == 2


def test_classes_of_a_source_can_be_mapped(folder):
    text = TABLE_AND_COCO + 'classes = {Car = "?car", person = ["stop_sign", "pedestrian"]}\n'
    table, _ = load(folder, text)
    assert table.entries_NL[0].tolist() == [0, 0, -1, -1], "a conflict on stop signs and none on cars"


def test_identity_by_path_keeps_copies_apart(folder):
    assert len(load(folder, 'identity = "path"\n' + TABLE_AND_COCO)[0]) == 3


def test_problem_stops_the_run_by_default_and_is_counted_where_configured(folder):
    (folder / "images/a.png").unlink()
    with pytest.raises(AnnotationError, match=r"instances\.json:1: image 'a.png' is not in"):
        load(folder, TABLE_AND_COCO)
    table, problems = load(folder, 'on_problem = "skip"\n' + TABLE_AND_COCO)
    assert len(table) == 2
    assert problems.counts() == {Kind.MISSING_IMAGE: 1}


def test_every_format_is_read_with_its_defaults(tmp_path):
    """One picture a format; VOC and YOLO are exhaustive on nothing unless they say so."""
    for shade, name in enumerate(("b", "v", "y")):
        write_image(tmp_path / f"images/{name}.png", shade)
    (tmp_path / "bdd.json").write_text('[{"name": "b.png", "labels": [{"category": "car"}]}]')
    (tmp_path / "voc").mkdir()
    voc = "<annotation><filename>v.jpg</filename><object><name>stop</name></object></annotation>"
    (tmp_path / "voc/v.xml").write_text(voc)
    (tmp_path / "yolo/labels").mkdir(parents=True)
    (tmp_path / "yolo/labels/y.rf.0123456789.txt").write_text("0 0.5 0.5 0.5 0.5")
    (tmp_path / "yolo/data.yaml").write_text("train: images\nnames: [Lights]")
    table, _ = load(
        tmp_path,
        """
        sources = [
            {format = "bdd100k", annotations = "bdd.json", images = "images"},
            {format = "voc", annotations = "voc", images = ["images"], match = "stem", exhaustive = ["car"]},
            {format = "yolo", data = "yolo/data.yaml", images = "images", classes = {Lights = "traffic_light"}},
        ]
        """,
    )
    assert [image.stem for image in table.images] == ["b", "v", "y"]
    assert table.entries_NL.tolist() == [[-1, 1, -1, -1], [-1, 0, 1, -1], [-1, -1, -1, 1]]
    assert table.sources == ("bdd", "voc", "yolo")


def drives(folder, *, name="", group="(drive\\\\d)_", split="test"):
    """The TOML of two COCO files: a frame each of drives 1 and 2, and another frame of drive 2, with the split."""
    parts = []
    for number, (part, images) in enumerate({"train": ("drive1_0", "drive2_0"), "more": ("drive2_1",)}.items()):
        for image in images:
            write_image(folder / f"images/{image}.png", 5 + int(image[-1]) + 2 * int(image[5]))
        listed = [{"id": n, "file_name": f"{image}.png", "width": 9, "height": 9} for n, image in enumerate(images)]
        (folder / f"{part}.json").write_text(json.dumps(COCO | {"images": listed, "annotations": []}))
        own = f'\nsplit = "{split}"' if number else ""
        named = f'\nname = "{name}"' if name else ""
        files = f'annotations = "{part}.json"\nimages = "images"'
        parts.append(f'[[sources]]\nformat = "coco"\n{files}\ngroup = "{group}"{named}{own}')
    return "\n".join(parts)


def test_drive_in_test_and_in_a_source_of_another_name_is_refused(tmp_path):
    """It would be learned from and tested on, and nothing else would say so."""
    said = "scene 'drive2' is in more and in train, and one of them is a test: where it is one drive .* the same `name`"
    with pytest.raises(InvalidConfiguration, match=said):
        load(tmp_path, drives(tmp_path))


def test_sources_of_one_name_share_their_scenes(tmp_path):
    """Drive 2 is then a test as a whole."""
    table, problems = load(tmp_path, drives(tmp_path, name="mine"))
    assert [group.partition(":")[2] for group in table.groups] == ["drive1", "drive2", "drive2"]
    assert table.splits == ("", "test", "test")
    assert problems.note_counts() == {Kind.LEAKAGE: 1}


def test_equal_scenes_that_no_test_has_stay_apart(tmp_path):
    """Unrelated sources number their drives alike."""
    table, _ = load(tmp_path, drives(tmp_path, split="train"))
    assert table.groups == ("train:drive1", "train:drive2", "more:drive2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "sources: field required"),
        ("sources = []", "sources: .*at least 1 item"),
        ("labels = [", "no data description that can be read"),
        ('lables = ["car"]\n' + TABLE_AND_COCO, "lables: extra inputs are not permitted"),
        ('on_problem = "warn"\n' + TABLE_AND_COCO, "on_problem: input should be 'stop' or 'skip'"),
        ('[[sources]]\nformat = "pascal"', "sources.0: .*'pascal'.*'table', 'coco', 'bdd100k', 'voc', 'yolo'"),
        (TABLE_AND_COCO + 'spilt = "x"', "sources.1.coco.spilt: extra inputs"),
        (TABLE_AND_COCO.replace('"images"', '"nowhere"'), "nowhere is not a folder"),
        (TABLE_AND_COCO.replace("instances", "nowhere"), r"nowhere\.json is not a file"),
        (TABLE_AND_COCO.replace('path = "table"', 'path = "images"'), "images is not a label table"),
        (TABLE_AND_COCO + 'group = "("', "is no regular expression"),
        (TABLE_AND_COCO + 'exhaustive = ["stop_sing"]', "mine is declared exhaustive on stop_sing"),
        (TABLE_AND_COCO + 'classes = {car = "A Car"}', "class 'car' maps to 'A Car'"),
        ('labels = ["Car"]\n' + TABLE_AND_COCO, "labels are 'Car'; they must be"),
    ],
)
def test_description_with_a_mistake_is_refused_with_what_and_where(folder, text, message):
    with pytest.raises(InvalidConfiguration, match=message):
        load(folder, text)


def test_description_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(InvalidConfiguration, match=r"none\.toml: no data description"):
        data_description.load(tmp_path / "none.toml")


def test_example_in_the_module_s_words_is_a_valid_description(tmp_path):
    text = data_description.__doc__.split("\n\n", 1)[1].split("\n\nRelative")[0]
    (tmp_path / "data.toml").write_text("\n".join(line.removeprefix("    ") for line in text.splitlines()))
    description = data_description.read(tmp_path / "data.toml")
    assert [source.format for source in description.sources] == ["table", "coco", "yolo"]


def test_images_need_not_be_opened_where_they_are_not_to_be_checked(folder, monkeypatch):
    monkeypatch.setattr(Image, "open", None)
    assert len(load(folder, "check_images = false\n" + TABLE_AND_COCO)[0]) == 2


def test_image_that_cannot_be_decoded_stops_the_run_by_default_and_is_left_out_where_configured(folder):
    """Picture b is named in the third line of the table; cut in half it lacks rows."""
    broken = folder / "table/b.png"
    broken.write_bytes(broken.read_bytes()[:-30])
    with pytest.raises(AnnotationError, match=r"labels\.csv:3: image .*b\.png cannot be used: ") as stopped:
        load(folder, TABLE_AND_COCO)
    assert stopped.value.file == folder / "table/labels.csv"
    table, problems = load(folder, 'on_problem = "skip"\n' + TABLE_AND_COCO)
    assert [image.name for image in table.images] == ["a.png"]
    assert problems.counts() == {Kind.BROKEN_IMAGE: 1}


def test_folder_with_a_broken_image_stops(folder):
    (folder / "table/a.png").write_text("no image")
    with pytest.raises(AnnotationError, match=r"labels\.csv:2: image .*a\.png cannot be used: .*JPEG, PNG and WebP"):
        data_description.load(folder / "table")


def test_teacher_is_named_in_the_description_and_lies_where_it_says(folder, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    (folder / "table/scores.csv").write_text("image,car\na.png,0.5\n")
    load(folder, 'teacher = "table/scores.csv"\n' + TABLE_AND_COCO)
    assert data_description.teacher(folder / "data.toml") == folder / "table/scores.csv"


def test_description_that_names_no_teacher_has_none(folder):
    """A teacher.csv beside it is not taken unasked: several sources may have one each."""
    (folder / "teacher.csv").write_text("image,car\n")
    load(folder, TABLE_AND_COCO)
    assert data_description.teacher(folder / "data.toml") is None


def test_folder_with_labels_uses_the_teacher_in_it(folder):
    assert data_description.teacher(folder / "table") is None
    (folder / "table/teacher.csv").write_text("image,car\n")
    assert data_description.teacher(folder / "table") == folder / "table/teacher.csv"


def test_teacher_that_is_not_there_is_refused_before_anything_is_trained(folder):
    with pytest.raises(InvalidConfiguration, match=r"nobody\.csv is not a file"):
        load(folder, 'teacher = "nobody.csv"\n' + TABLE_AND_COCO)
    with pytest.raises(InvalidConfiguration, match=r"nobody\.csv is not a file"):
        data_description.teacher(folder / "data.toml")


def test_labels_are_those_of_a_training_configuration_unless_named(folder):
    table, _ = load(folder, TABLE_AND_COCO)
    assert table.labels == TrainingConfiguration().labels


def test_real_sources_of_all_formats_merge_without_a_conflict(streetframes, annotation_formats, tmp_path):
    """The files that the label table was made from agree with it; 31 YOLO, 59 VOC and 50 COCO frames are its own."""
    images = streetframes / "images"
    table, problems = load(
        tmp_path,
        f"""
on_problem = "skip"
[[sources]]
format = "table"
path = "{streetframes}"
[[sources]]
format = "coco"
annotations = "{annotation_formats}/coco/instances_train2017.json"
images = ["{images}/coco_val2017_person", "{images}/coco_subsets"]
[[sources]]
format = "voc"
annotations = "{annotation_formats}/voc"
images = "{images}/roadsign_kaggle"
match = "stem"
exhaustive = ["stop_sign", "traffic_light"]
[[sources]]
format = "yolo"
data = "{annotation_formats}/yolo/data.yaml"
images = "{images}/stop_rf_ahmet"
classes = {{Sign = "stop_sign", Pole = "ignore"}}
exhaustive = ["stop_sign"]
""",
    )
    assert len(table) == 4972
    assert table.conflicts == ()
    assert problems.note_counts() == {Kind.SAME_FRAME: 50 + 59 + 31}
    assert problems.counts() == {Kind.MISSING_IMAGE: 14 + 1}
