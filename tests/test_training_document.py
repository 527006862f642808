"""What docs/training.md shows is what training does: its example runs from end to end, its sources are read."""

import json
import re
import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from model_training import data_description
from model_training.cli import main
from model_training.errors import InvalidConfiguration
from model_training.label_table import LabelTable
from model_training.sources.problems import Problems
from service.inference.artifact import Artifact
from tests.document import blocks, commands, rows, section, shell, strange_flags
from tests.model_training.painted_frames import write_painted_frames

EXAMPLE, SOURCES, LOOP = "An example that takes a minute", "Where the data lies", "Close the loop"


@pytest.fixture(scope="module")
def document(repository: Path) -> str:
    return (repository / "docs" / "training.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, document: str) -> Path:
    """Where the reader is: with lights.toml as shown, painted frames in lights, and photos."""
    folder = tmp_path_factory.mktemp("reader")
    lights = write_painted_frames(folder / "lights")
    for table in ("labels.csv", "boxes.csv"):
        text = (lights / table).read_text()
        for colour in ("red", "green"):
            text = text.replace(f",{colour},", f",{colour}_light,")
        (lights / table).write_text(text)
    (folder / "lights.toml").write_text(blocks(section(document, EXAMPLE), "toml")[0])
    (folder / "photos").mkdir()
    for number in range(3):
        write_image(folder / "photos" / f"{number}.jpg", number)
    return folder


def write_image(path: Path, number: int) -> None:
    """A grey image unlike those of other numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((64, 96, 3), 10 + 15 * number, np.uint8))


def run(folder: Path, command: str) -> str:
    """What a command says; those of training in this process, which has loaded PyTorch already."""
    program, *arguments = shlex.split(command, comments=True)
    if program != "roadcue-train":
        done = shell(folder, command)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        return done.stdout + done.stderr
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, f"{command}\n{result.output}"
    return result.output


@pytest.fixture(scope="module")
def told(document: str, folder: Path) -> dict[str, str]:
    """What each command of the example said, by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        lines = commands(section(document, EXAMPLE))
        return {line.split()[1]: run(folder, line) for line in lines}


def test_the_example_runs_and_leaves_what_its_table_says(document: str, told: dict[str, str], folder: Path) -> None:
    assert list(told) == ["data", "train", "export", "verify", "evaluate", "inspect"]
    left = {name.strip("`"): files for name, files, _ in rows(section(document, EXAMPLE), "Command")}
    assert list(left) == list(told)[:-1]
    for name in ("data", "evaluate"):
        assert (folder / left[name].strip("`")).read_text().startswith("<!doctype html>")
    assert {"curves.png", "metrics.csv"} <= {path.name for path in (folder / "runs" / "lights").iterdir()}
    assert (folder / "lights.md").read_text().startswith("# lights 1.0.0")
    assert [label.key for label in Artifact.read(folder / "lights.onnx").metadata.labels] == [
        "red_light",
        "green_light",
    ]
    assert '"largest_differences"' in told["verify"]


def test_each_command_of_the_example_names_the_next_one(told: dict[str, str]) -> None:
    assert "roadcue-train train lights.toml" in told["data"]
    assert "roadcue-train export runs/lights lights.toml" in told["train"]
    assert [name for name in told if "\nNext: roadcue" not in told[name]] == ["inspect"]


def test_the_shown_table_is_read_as_it_says(document: str, tmp_path: Path) -> None:
    """Known entries, the unknown one, the drive as group, the split of the third row."""
    table_csv = blocks(section(document, EXAMPLE), "csv")[0]
    (tmp_path / "lights").mkdir()
    (tmp_path / "lights" / "labels.csv").write_text(table_csv)
    for number, name in enumerate(("0001", "0002", "0917")):
        write_image(tmp_path / "lights" / "images" / f"{name}.jpg", number)
    (tmp_path / "lights.toml").write_text(blocks(section(document, EXAMPLE), "toml")[0])
    table, problems = data_description.load(tmp_path / "lights.toml")
    assert table.entries_NL.tolist() == [[1, 0], [-1, 0], [0, 1]]
    assert (list(table.groups), table.splits[2]) == (["drive_01", "drive_01", "drive_40"], "test")
    assert (problems.found, problems.notes) == ([], [])


def test_kept_frames_are_a_source(document: str, told: dict[str, str], folder: Path) -> None:
    """The loop's command on photographs; its folder is named as shown beside the example's own source."""
    (keep,) = commands(section(document, LOOP))
    run(folder, keep.replace("--uncertain hard", "--uncertain hard --uncertain-margin 20 --device cpu"))
    assert len(json.loads((folder / "scores.json").read_text())["frames"]) == 3
    own, loop = (blocks(section(document, heading), "toml")[0] for heading in (EXAMPLE, LOOP))
    (folder / "again.toml").write_text(own + loop)
    table, _ = data_description.load(folder / "again.toml")
    hard = [row for row, source in enumerate(table.sources) if source == "hard"]
    assert {table.splits[row] for row in hard} == {"fit"}
    assert set(table.entries_NL[hard].ravel().tolist()) == {-1}
    assert {table.licences[row] for row in hard} == {"CC-BY-4.0"}


@pytest.fixture
def sources(document: str, tmp_path: Path) -> tuple[LabelTable, Problems]:
    """The sources of the second TOML file, each with a few images, written here by the formats' own documentation."""
    (tmp_path / "data.toml").write_text(blocks(section(document, SOURCES), "toml")[0])
    names = ("own/a.jpg", "coco/images/b.jpg", "bdd/train/c.jpg", "bdd/val/d.jpg", "voc/JPEGImages/e.jpg")
    for number, name in enumerate((*names, "voc/JPEGImages/f.jpg", "stop_signs/test/images/drive7_1.jpg")):
        write_image(tmp_path / name, number)
    files = {
        "own/labels.csv": "image,pedestrian,car,stop_sign,traffic_light\na.jpg,1,0,,0\n",
        "scores.csv": "image,pedestrian,car,stop_sign,traffic_light\nown/a.jpg,,,0.1,\n",
        "coco/instances.json": json.dumps(
            {
                "images": [{"id": 1, "file_name": "b.jpg", "width": 96, "height": 64}],
                "categories": [{"id": 3, "name": "car"}, {"id": 13, "name": "stop sign"}],
                "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [10, 10, 20, 20]}],
            }
        ),
        "bdd/labels.json": json.dumps(
            [
                {"name": "c.jpg", "labels": [box2d("traffic light"), box2d("rider")]},
                {"name": "d.jpg", "labels": None},
            ]
        ),
        "voc/Annotations/e.xml": voc("e.jpg", "person", "dog"),
        "voc/Annotations/f.xml": voc("f.jpg", "van"),
        "stop_signs/data.yaml": "names: [Sign, Pole]\ntest: test/images\n",
        "stop_signs/test/labels/drive7_1.txt": "1 0.5 0.5 0.2 0.2\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return data_description.load(tmp_path / "data.toml")


def box2d(category: str) -> "dict[str, object]":
    return {"category": category, "box2d": {"x1": 10, "y1": 10, "x2": 30, "y2": 30}}


def voc(image: str, *classes: str) -> str:
    box = "<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>20</xmax><ymax>20</ymax></bndbox>"
    objects = "".join(f"<object><name>{name}</name>{box}</object>" for name in classes)
    size = "<size><width>96</width><height>64</height><depth>3</depth></size>"
    return f"<annotation><filename>{image}</filename>{size}{objects}</annotation>"


def test_every_format_is_read_as_the_text_says(sources: tuple[LabelTable, Problems]) -> None:
    """Present, absent and unknown (-1) of pedestrian, car, stop sign and traffic light, by hand."""
    table, problems = sources
    entries = {image.name: row for image, row in zip(table.images, table.entries_NL.tolist(), strict=True)}
    assert problems.found == []
    assert entries == {
        "a.jpg": [1, 0, -1, 0],
        # The file has cars and stop signs, and leaves none of them out.
        "b.jpg": [-1, 1, 0, -1],
        # Complete on what its categories show: the lights alone; a rider may be a pedestrian.
        "c.jpg": [-1, -1, -1, 1],
        "d.jpg": [-1, -1, -1, -1],
        "e.jpg": [1, -1, -1, -1],
        "f.jpg": [-1, -1, -1, -1],
        # Exhaustive on stop signs: a pole is none.
        "drive7_1.jpg": [-1, -1, 0, -1],
    }


def test_a_pattern_finds_the_scene_and_the_source_its_split(sources: tuple[LabelTable, Problems]) -> None:
    table, _ = sources
    row = [image.name for image in table.images].index("drive7_1.jpg")
    assert (table.groups[row].rpartition(":")[2], table.splits[row]) == ("drive7", "test")


def test_the_text_names_every_format(document: str, tmp_path: Path) -> None:
    """Those that the error for another one names."""
    strange = tmp_path / "strange.toml"
    strange.write_text('[[sources]]\nformat = "strange"\n')
    named = re.findall(r'format = "(\w+)"', blocks(section(document, SOURCES), "toml")[0])
    with pytest.raises(InvalidConfiguration, match="expected tags") as refused:
        data_description.read(strange)
    assert sorted(named) == sorted(re.findall(r"'(\w+)'", str(refused.value).partition("expected tags")[2]))


def test_every_flag_of_training_that_a_document_names_is_one() -> None:
    assert list(strange_flags("roadcue-train", main.commands)) == []
