"""The loop closes: uncertain frames are kept, a person answers, and the next training takes the answers as a source."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from model_training import data_description
from model_training.cli import main as roadcue_train
from model_training.configuration import TrainingConfiguration
from model_training.label_table import UNKNOWN
from model_training.training_rows import assemble
from service.cli import roadcue
from service.label_folder.folder import LabelFolder
from tests.model_training.painted_frames import write_painted_frames
from tests.service.conftest import encoded
from tests.tiny_model import write_tiny_model


def run(command: object, *arguments: object) -> Result:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])  # type: ignore[arg-type]
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`roadcue predict --uncertain` on two drives of four frames; a person has answered red in half of them."""
    top = tmp_path_factory.mktemp("loop")
    for number in range(8):
        drive = top / "drives" / f"drive_{number % 2}"
        drive.mkdir(parents=True, exist_ok=True)
        # The tiny model says 100/255 and more, all within 1 of its threshold of 0.5 in logits, for red; 0 for green.
        (drive / f"{number}.png").write_bytes(encoded(100 + 5 * number, 0, 0))
    model = write_tiny_model(top / "tiny.onnx")
    where = ("--model", model, "--device", "cpu", "--inference-workers", 1)
    kept = ("--uncertain", top / "hard", "--uncertain-licence", "CC-BY-4.0")
    run(roadcue, "predict", *where, *kept, top / "drives")
    folder = LabelFolder(top / "hard")
    for number, frame in enumerate(folder.listed()):
        assert frame.near == ("red",)
        if number % 2:
            folder.answer(frame.image, "red", "present" if number % 4 == 1 else "absent", "")
    return folder.path


@pytest.fixture(scope="module")
def data(answered: Path) -> Path:
    """A description that names the old data and the folder."""
    write_painted_frames(answered.parent / "painted")
    sources = '[[sources]]\nformat = "table"\npath = "painted"\n[[sources]]\nformat = "table"\npath = "hard"\n'
    path = answered.parent / "data.toml"
    path.write_text(f'labels = ["red", "green"]\n{sources}')
    return path


def test_answers_are_rows_like_all_others_and_the_rest_is_unknown(data: Path) -> None:
    """Four answered reds, nothing known of green, and the two drives as groups with their source and licence."""
    table, problems = data_description.load(data)
    hard = table.rows([row for row, source in enumerate(table.sources) if source == "hard"])
    assert sorted(hard.entries_NL[:, 0].tolist()) == [UNKNOWN] * 4 + [0, 0, 1, 1]
    assert set(hard.entries_NL[:, 1].tolist()) == {UNKNOWN}
    assert {Path(group).name for group in hard.groups} == {"drive_0", "drive_1"}
    assert set(hard.licences) == {"CC-BY-4.0"}
    assert (problems.found, problems.notes) == ([], [])


def test_no_drive_is_on_two_sides_of_a_split(data: Path) -> None:
    table, _ = data_description.load(data)
    rows = assemble(table, TrainingConfiguration(labels=table.labels))
    sides = [{table.groups[row] for row in side} for side in (rows.train, rows.validation, rows.calibration)]
    assert len(set.union(*sides)) == sum(map(len, sides))


def test_the_data_report_lists_the_answers_with_their_source_and_licence(data: Path, tmp_path: Path) -> None:
    report = json.loads(run(roadcue_train, "data", data, "--output", tmp_path / "report.html").stdout)
    (hard,) = [source for source in report["sources"] if source["source"] == "hard"]
    assert (hard["licence"], hard["frames"]) == ("CC-BY-4.0", 8)


def test_training_takes_them(data: Path, tmp_path: Path) -> None:
    """One epoch of the smallest recipe ends with a network; the next command is told with all that it needs."""
    sizes = ("--set", "epochs=1", "--set", "height=64", "--set", "width=96")
    teacher = tmp_path / "teacher.csv"
    teacher.write_text("image,red\n" + "".join(f"{image},0.9\n" for image in data_description.load(data)[0].images))
    folder, where = tmp_path / "run", ("--recipe", "smoke", "--device", "cpu", "--teacher", teacher)
    done = run(roadcue_train, "train", data, "--output", folder, *where, *sizes)
    assert (folder / "best.pt").is_file()
    export = f"export {folder} {data}"
    assert f"Next: roadcue-train {export} --teacher {teacher}" in done.stderr
    refused = CliRunner().invoke(roadcue_train, [*export.split(), "--output", str(tmp_path / "m.onnx")])
    assert refused.exit_code == 1
    assert "was trained with other data: teacher differ" in refused.stderr
    assert "--teacher or --detector is not what it was" in refused.stderr
