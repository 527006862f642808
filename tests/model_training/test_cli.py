"""The command line refuses in one clear line what it cannot do."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from model_training import checkpoints
from model_training.cli import SUBCOMMANDS, main
from model_training.configuration import TrainingConfiguration
from model_training.teacher.cells import DetectorCells
from service.inference.artifact import Figure
from service.lazy_commands import LazyCommand
from tests.model_training.painted_frames import write_painted_frames
from tests.model_training.small_detector import CLASSES, write_small_detector
from tests.service.command_process import interrupted_while_reading
from tests.service.flag_help import numbers, without_default, without_help, without_unit
from tests.tiny_model import tiny_metadata, write_tiny_model


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_painted_frames(tmp_path_factory.mktemp("cli") / "data", count=12, test=4)
    (folder / "data.toml").write_text('labels = ["red", "green"]\n[[sources]]\nformat = "table"\npath = "."\n')
    return folder / "data.toml"


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def subcommand(name: str) -> click.Command:
    found = main.commands[name]
    assert isinstance(found, LazyCommand)
    return found.command


def refusal(*arguments: object) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 1, result.output
    assert len(result.stderr.splitlines()) == 1
    return result.stderr


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_flag_has_help_and_a_default(name: str) -> None:
    """But a switch, which is off where it is left out."""
    assert invoke(name, "--help").output.startswith(f"Usage: main {name}")
    assert without_help(main, name) == []
    assert without_default(main, name) == []


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_number_says_what_it_counts(name: str) -> None:
    counted = {"--frames": "Frames", "--seeds": "Seeds", "--threads": "Images", "--seed": "Seed of the noise"}
    assert without_unit(numbers(main, name), ("-seconds",), counted) == []


def test_exit_codes_are_told_with_the_help() -> None:
    told = invoke("--help").output
    assert "Exit codes: 0 done; 1 failed; 2 wrong arguments; 130 stopped by Ctrl-C." in " ".join(told.split())


def test_ctrl_c_ends_a_command_with_code_130(tmp_path: Path) -> None:
    """While it reads the description of the data."""
    description = tmp_path / "data.toml"
    arguments = ("data", description, "--output", tmp_path / "page.html")
    assert interrupted_while_reading(description, "model_training", *arguments) == (130, "", "\nStopped\n")


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_the_list_of_commands_says_what_each_says_itself(name: str) -> None:
    """It is written down where nothing need be imported, and must not differ."""
    own = subcommand(name).help
    assert own is not None
    assert main.commands[name].help == own.partition("\n\n")[0].replace("\n", " ").strip()


def test_the_list_of_commands_and_the_data_report_do_without_pytorch(repository: Path) -> None:
    """Which takes seconds to import."""
    asked = "import sys; from model_training.cli import main; main(['data', '--help'], standalone_mode=False)"
    told = f"{asked}; main(['--help'], standalone_mode=False); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_data_writes_a_page_and_names_the_next_command(data: Path, tmp_path: Path) -> None:
    """And does not overwrite it unasked."""
    page = tmp_path / "folder that is not there" / "report.html"
    told = invoke("data", data, "--output", page)
    assert told.exit_code == 0, told.output
    assert f"Written: {page}\nNext: roadcue-train train {data}" in told.stderr
    document = json.loads(told.stdout)
    assert document["labels"] == ["red", "green"]
    assert (document["frames_for_training"], document["frames_for_test"]) == (12, 4)
    assert document["written"] == [str(page)]
    assert "</html>" in page.read_text()
    assert "--overwrite replaces it" in refusal("data", data, "--output", page)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("epochs", "has no '='; write KEY=VALUE"),
        ("epochs=many", "epochs: input should be a valid integer"),
        ("epochs=0", "epochs: input should be greater than 0"),
        ("epoch=3", "epoch: extra inputs are not permitted"),
        ("network.trunks=x", "network.trunks: extra inputs are not permitted"),
        ("epochs.x=3", "epochs is a value, it has no part x"),
        ("labels=['red']", "the labels are those of DATA"),
        ("network.trunk=resnet1800", "trunk 'resnet1800' cannot be used"),
    ],
)
def test_a_change_that_is_not_allowed_is_named(data: Path, tmp_path: Path, change: str, message: str) -> None:
    """Before anything is written."""
    said = refusal("train", data, "--recipe", "smoke", "--output", tmp_path / "run", "--set", change)
    assert message in said
    assert not (tmp_path / "run" / "best.pt").exists()


def test_an_unknown_recipe_names_those_there_are(data: Path, tmp_path: Path) -> None:
    """street and smoke."""
    assert "there are street, smoke" in refusal("train", data, "--recipe", "alley", "--output", tmp_path / "run")


def test_training_imitates_the_detector_that_it_is_given(data: Path, tmp_path: Path) -> None:
    """Which file it was is kept with the run."""
    detector = write_small_detector(tmp_path / "detector.onnx")
    classes = [f"--class={label}={number}" for label, number in CLASSES.items()]
    told = invoke(
        *("train", data, "--recipe", "smoke", "--output", tmp_path / "run"),
        *("--detector", detector, *classes, "--set", "imitation_weight=1"),
    )
    assert told.exit_code == 0, told.output
    assert [Path(path).name for path in json.loads(told.stdout)["written"]] == [
        "best.pt",
        "resume.pt",
        "metrics.csv",
        "curves.png",
    ]
    state = checkpoints.load(tmp_path / "run" / "resume.pt")[1]
    assert state["rows"]["detector"] == DetectorCells(detector, CLASSES).digest
    assert state["imitation"]["0.weight"].shape == (6, 16, 1, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "imitation_weight=0"], "would not be imitated: imitation_weight is 0"),
        (["--set", "imitation_weight=1", "--class", "red"], "--class 'red' is not LABEL=NUMBER, such as car=2"),
        (["--set", "imitation_weight=1", "--class", "red=7"], "no YOLOX file with the classes red=7"),
        (["--set", "imitation_weight=1", "--class", "rde=1"], "--class rde=1: the labels are red, green"),
        (["--set", "imitation_weight=1"], "the detector knows none of the labels red, green; say which"),
    ],
)
def test_a_detector_that_cannot_be_imitated_is_refused(
    data: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    """Before anything is written."""
    detector = write_small_detector(tmp_path / "detector.onnx")
    arguments = ("train", data, "--recipe", "smoke", "--output", tmp_path / "run", "--detector", detector, *options)
    assert message in refusal(*arguments)
    assert not (tmp_path / "run").exists()


def test_a_recipe_that_imitates_trains_without_a_detector_and_says_so(data: Path, tmp_path: Path) -> None:
    """The run is stored as what it is; a class of no detector is refused."""
    train = ("train", data, "--recipe", "smoke", "--set", "imitation_weight=1", "--output", tmp_path / "run")
    assert "name it with --detector FILE" in refusal(*train, "--class", "red=1")
    told = invoke(*train, "--format", "table")
    assert told.exit_code == 0, told.output
    assert "smoke imitates a detector; without one (--detector FILE) it learns from labels\n" in told.stderr
    assert re.fullmatch(r"best of 1 epochs is 0: mAP [\d.]+  red (nan|[\d.]+)  green (nan|[\d.]+)\n", told.stdout)
    assert checkpoints.load(tmp_path / "run" / "best.pt")[0].imitation_weight == 0


@pytest.fixture
def sightings(tmp_path: Path) -> Path:
    """Painted frames of which nobody wrote down what they do not show."""
    folder = write_painted_frames(tmp_path / "sightings", count=12, test=0)
    header, *rows = (folder / "labels.csv").read_text().splitlines()
    seen = [",".join("" if field == "0" else field for field in row.split(",")) for row in rows]
    (folder / "labels.csv").write_text("\n".join([header, *seen]) + "\n")
    (folder / "data.toml").write_text('labels = ["red", "green"]\n[[sources]]\nformat = "table"\npath = "."\n')
    return folder / "data.toml"


def test_where_validation_decides_nothing_the_last_epoch_is_kept_and_it_is_said_once(
    sightings: Path, tmp_path: Path
) -> None:
    changes = ("--set", "epochs=2", "--set", "patience=1")
    told = invoke("train", sightings, "--recipe", "smoke", "--output", tmp_path / "run", *changes, "--format", "table")
    assert told.exit_code == 0, told.output
    assert told.stderr.count("no label has both kinds of known entries on the validation rows") == 1
    assert told.stdout == "kept is epoch 1, the last of 2\n"


def test_training_warns_of_a_label_of_one_kind_and_refuses_one_that_nobody_labelled(
    sightings: Path, tmp_path: Path
) -> None:
    train = ("train", sightings, "--recipe", "smoke", "--output", tmp_path / "run")
    told = invoke(*train)
    assert told.exit_code == 0, told.output
    for label in ("red", "green"):
        assert re.search(rf"{label}: \d+ present and 0 absent among the train rows: .* always there", told.stderr)
    sightings.write_text(sightings.read_text().replace('"green"', '"gren"'))
    said = refusal(*train[:-1], tmp_path / "slip")
    assert "no train row says whether gren is there, so nothing would learn it" in said
    assert not (tmp_path / "slip").exists()


def test_export_and_its_card_say_which_thresholds_nothing_could_be_chosen_by(sightings: Path, tmp_path: Path) -> None:
    """Of 12 painted frames as many are held out to calibrate as the run says; none is known to be absent."""
    run, model = tmp_path / "run", tmp_path / "seen.onnx"
    assert invoke("train", sightings, "--recipe", "smoke", "--output", run).exit_code == 0
    told = invoke("export", run, sightings, "--output", model)
    assert told.exit_code == 0, told.output
    said = json.loads(told.stdout)["thresholds_not_chosen"]
    assert list(said) == ["red", "green"]
    assert all(re.fullmatch(r"not chosen: \d present, 0 absent held out", why) for why in said.values())
    card = model.with_suffix(".md").read_text()
    assert f"| red | 0.5 | {said['red']} | 1.000 | +0.000 |" in card
    not_compared = "none | not compared: no label has both kinds of known entries |"
    assert re.search(rf"\| float16 \| no \| [\d.]+ \|  \| {re.escape(not_compared)}", card)


def test_a_file_that_is_no_detector_teaches_nobody(data: Path, tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny.onnx")
    said = refusal("teach", model, data, "--output", tmp_path / "boxes.csv", "--class", "red=0")
    assert "no YOLOX file with the classes red=0" in said


def test_an_error_of_the_operating_system_is_one_line(data: Path, tmp_path: Path) -> None:
    """A folder cannot be made where a file is."""
    (tmp_path / "file").touch()
    said = refusal("data", data, "--output", tmp_path / "file" / "page.html")
    assert said == f"Error: {tmp_path / 'file'}: File exists\n"


def test_a_stopped_training_says_how_to_go_on(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("model_training.commands.train.Trainer.fit", stop)
    told = invoke("train", data, "--recipe", "smoke", "--output", tmp_path / "run")
    assert (told.exit_code, told.stderr.splitlines()[-1]) == (130, "Stopped. The same command with --resume goes on")


def test_a_source_without_test_rows_is_refused_as_a_test_set(data: Path, tmp_path: Path) -> None:
    """With the sources that have some."""
    model = write_tiny_model(tmp_path / "tiny.onnx")
    said = refusal("evaluate", model, data, "--test-set", "mine=painter_0+gallery")
    assert "names painter_0;" in said
    assert "sources with test rows are gallery" in said


def test_evaluate_measures_a_model_on_each_test_source(data: Path, tmp_path: Path) -> None:
    """The tiny model answers the mean of the red and of the green channel; entries of both kinds are judged."""
    model, page = write_tiny_model(tmp_path / "tiny.onnx"), tmp_path / "page.html"
    measured = json.loads(invoke("evaluate", model, data, "--output", page, "--format", "json").stdout)["figures"]
    assert {figure["test_set"] for figure in measured} == {"gallery"}
    assert {figure["label"] for figure in measured} == {"red", "green", "mean"}
    assert all(figure["n"] == 4 for figure in measured if figure["label"] != "mean")


def test_teach_counts_the_boxes_that_it_writes(data: Path, tmp_path: Path) -> None:
    """On the frames that are no test rows."""
    detector, boxes = write_small_detector(tmp_path / "detector.onnx"), tmp_path / "boxes.csv"
    classes = [f"--class={label}={number}" for label, number in CLASSES.items()]
    told = invoke("teach", detector, data, "--output", boxes, *classes)
    assert told.exit_code == 0, told.output
    assert f"Next: roadcue-train train {data} --teacher {boxes}" in told.stderr
    document = json.loads(told.stdout)
    assert (document["frames"], document["written"]) == (12, [str(boxes)])
    rows = [row["label"] for row in csv.DictReader(boxes.read_text().splitlines()) if row["label"]]
    assert sum(document["boxes"].values()) == len(rows)
    assert all(document["boxes"][label] == rows.count(label) for label in set(rows))


@pytest.mark.parametrize(("which", "frames"), [("train", 12), ("test", 4), ("all", 16)])
def test_teach_looks_at_the_rows_that_it_is_asked_to(data: Path, tmp_path: Path, which: str, frames: int) -> None:
    detector, boxes = write_small_detector(tmp_path / "detector.onnx"), tmp_path / "boxes.csv"
    classes = [f"--class={label}={number}" for label, number in CLASSES.items()]
    told = invoke("teach", detector, data, "--output", boxes, "--rows", which, *classes)
    assert json.loads(told.stdout)["frames"] == frames
    assert len({row["image"] for row in csv.DictReader(boxes.read_text().splitlines())}) == frames
    assert ("evaluate MODEL" in told.stderr) == (which == "test")


def test_a_yardstick_is_compared_on_test_rows_and_refused_without_any(data: Path, tmp_path: Path) -> None:
    """What teach writes for training says nothing of them, and would compare nothing without a word."""
    detector, model = write_small_detector(tmp_path / "detector.onnx"), write_tiny_model(tmp_path / "tiny.onnx")
    classes = [f"--class={label}={number}" for label, number in CLASSES.items()]
    for which in ("train", "test"):
        told = invoke("teach", detector, data, "--output", tmp_path / f"{which}.csv", "--rows", which, *classes)
        assert told.exit_code == 0, told.output
    evaluate = ("evaluate", model, data, "--part", "none", "--output", tmp_path / "page.html", "--yardstick")
    assert "train.csv scores no label's present and absent test rows" in refusal(*evaluate, tmp_path / "train.csv")
    compared = json.loads(invoke(*evaluate, tmp_path / "test.csv").stdout)["yardstick"]
    assert [(one["label"], one["n"]) for one in compared] == [("red", 4), ("green", 4), ("mean", 8)]


def test_a_file_of_other_data_does_not_reproduce(tmp_path: Path) -> None:
    """The document says it too."""
    precision = Figure(
        test_set="road", label="red", metric="average_precision", value=0.8, low=0.7, high=0.9, n=9, positives=4
    )
    metadata = tiny_metadata().model_copy(update={"figures": (precision,)})
    other = metadata.training_data.model_copy(update={"hash": "other"})
    metadata_json = metadata.model_copy(update={"training_data": other}).model_dump_json()
    again = tmp_path / "again.onnx"
    published = write_tiny_model(tmp_path / "published.onnx", metadata_json=metadata.model_dump_json())
    result = invoke("reproduces", write_tiny_model(again, metadata_json=metadata_json), published)
    said = "it learned from other data: other instead of none"
    assert (result.exit_code, result.stderr) == (1, f"Error: {again} does not reproduce {published}: {said}\n")
    assert json.loads(result.stdout) == {
        "reproduces": False,
        "disagreements": [said],
        "average_precisions": 1,
        "same_weights": True,
    }


def test_nothing_reproduces_a_file_without_figures(tmp_path: Path) -> None:
    """Whoever has compared nothing has not found the two to agree."""
    model = write_tiny_model(tmp_path / "tiny.onnx")
    assert f"{model} states no average precision" in refusal("reproduces", model, model)


@pytest.mark.parametrize("choice", ["mine", "mine=", "=gallery"])
def test_a_malformed_test_set_is_named(data: Path, tmp_path: Path, choice: str) -> None:
    """With the form it should have."""
    model = write_tiny_model(tmp_path / "tiny.onnx")
    assert f"{choice!r} is not NAME=SOURCE" in refusal("evaluate", model, data, "--test-set", choice)


def test_resuming_where_there_is_no_run_is_refused(data: Path, tmp_path: Path) -> None:
    """A mistyped folder does not silently begin a new run."""
    said = refusal("train", data, "--recipe", "smoke", "--output", tmp_path / "typo", "--resume")
    assert "holds no run to go on with" in said


@pytest.mark.parametrize("left", [[], ["resume.pt.unfinished"]])
def test_a_run_that_was_stopped_before_its_first_checkpoint_begins_anew_with_resume(
    data: Path, tmp_path: Path, left: list[str]
) -> None:
    """As whoever stopped it was told; what else may be in the folder is no run's."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in left:
        (folder / name).touch()
    resumed = invoke("train", data, "--recipe", "smoke", "--output", folder, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert (folder / "best.pt").exists()
    (folder / "resume.pt").unlink()
    assert "holds no run to go on with" in refusal("train", data, "--output", folder, "--resume")


def test_a_file_is_no_folder_for_a_run(data: Path, tmp_path: Path) -> None:
    """A usage error, not a traceback."""
    (tmp_path / "file").touch()
    assert invoke("train", data, "--recipe", "smoke", "--output", tmp_path / "file").exit_code == 2


def test_a_model_with_other_labels_than_the_data_is_refused(data: Path, tmp_path: Path) -> None:
    """Both lists are named."""
    said = refusal("evaluate", write_tiny_model(tmp_path / "tiny.onnx", labels=("car", "tram")), data)
    assert "('car', 'tram')" in said
    assert "('red', 'green')" in said


def test_export_of_a_folder_without_a_run_says_to_train_first(data: Path, tmp_path: Path) -> None:
    """Not a traceback."""
    (tmp_path / "run").mkdir()
    assert "train first: roadcue-train train" in refusal(
        "export", tmp_path / "run", data, "--output", tmp_path / "m.onnx"
    )


def test_dotted_changes_reach_into_parts_of_the_recipe(data: Path) -> None:
    """Numbers are read as numbers, anything else as text."""
    from model_training.commands.train import changed

    changes = ["network.trunk=resnet18", "augmentation.crop=0.25", "epochs=3", "label_weights.red=2.0"]
    found = changed(TrainingConfiguration(), ("red", "green"), changes)
    assert (found.network.trunk, found.augmentation.crop, found.epochs) == ("resnet18", 0.25, 3)
    assert found.label_weights == {"red": 2.0}
    assert found.labels == ("red", "green")
