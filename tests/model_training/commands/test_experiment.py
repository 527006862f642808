"""roadcue-train experiment, from painted frames to a table in a document, in seconds."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from model_training.cli import main
from tests.model_training.painted_frames import write_painted_frames
from tests.model_training.small_detector import CLASSES, write_small_detector

PLAN = """
recipe = "smoke"
seeds = [3]

[base]
set = { epochs = 2, validation = 0.2, calibration = 0.2, precision = "float32" }

[[change]]
name = "mosaics"
why = "four frames in one"
set = { augmentation.mosaic = 0.5 }
"""
SILENT = '[[change]]\nname = "no teacher"\nwhy = "its scores"\nteacher = "none"\n'


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["experiment", *map(str, arguments)])


def refusal(*arguments: object) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 1, result.output
    return result.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Painted frames and a teacher that knows what is in them."""
    folder = write_painted_frames(tmp_path_factory.mktemp("experiment") / "data")
    (folder / "data.toml").write_text(
        'labels = ["red", "green"]\nteacher = "scores.csv"\n[[sources]]\nformat = "table"\npath = "."\n'
    )
    scores = [f"images/{n}.jpg,{0.05 + 0.9 * (n % 2)},{0.05 + 0.9 * (n // 2 % 2)}" for n in range(56)]
    (folder / "scores.csv").write_text("\n".join(["image,red,green", *scores]) + "\n")
    return folder / "data.toml"


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares a test the seconds in which networks are written and timed."""
    monkeypatch.setattr(
        "model_training.commands.experiment.frame_times", lambda arms: {arm.name: (1.0, 1.0) for arm in arms}
    )


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plan") / "plan.toml"
    path.write_text(PLAN)
    return path


@pytest.fixture(scope="module")
def done(data: Path, plan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of whole experiments, whose results are printed too."""
    folder = tmp_path_factory.mktemp("done") / "run"
    result = invoke(plan, data, "--output", folder)
    assert result.exit_code == 0, result.output
    written = [str(folder / name) for name in ("results.json", "results.md")]
    assert json.loads(result.stdout) == {**json.loads((folder / "results.json").read_text()), "written": written}
    return folder


def test_a_dry_run_says_how_much_would_be_trained_and_leaves_nothing(data: Path, plan: Path, tmp_path: Path) -> None:
    """Twice 60 % of 56 frames are 67.2: 8 batches of 8 for each of the two runs."""
    told = invoke(plan, data, "--output", tmp_path / "run", "--dry-run")
    assert told.exit_code == 0, told.output
    work = json.loads(told.stdout)
    assert (work["runs"], work["seeds"], work["frames_per_run"], work["frames"]) == (2, [3], 64, 128)
    assert [arm["name"] for arm in work["arms"]] == ["base", "mosaics"]
    assert work["arms"][1]["changes"] == {"augmentation.mosaic": 0.5}
    assert not (tmp_path / "run").exists()


def test_every_run_leaves_what_it_says_and_the_whole_its_figures(done: Path) -> None:
    document = json.loads((done / "results.json").read_text())
    assert {(run["arm"], run["result"]["frames_seen"]) for run in document["runs"]} == {("base", 64), ("mosaics", 64)}
    base, mosaics = document["outcomes"]
    assert [found["label"] for found in mosaics["labelled"]] == ["red", "green", "mean"]
    assert mosaics["labelled"][0]["theirs"] == base["labelled"][0]["ours"]
    assert "| mosaics |" in (done / "results.md").read_text()
    assert sorted(path.name for path in (done / "seed_3").iterdir()) == ["base", "mosaics", "opinions.npy"]
    assert not (done / "seed_3" / "base" / "resume.pt").exists()


@pytest.mark.usefixtures("untimed")
def test_arms_that_imitate_need_a_detector_and_get_it(data: Path, tmp_path: Path, untimed: None) -> None:
    """Without one nothing begins; with one it is a part of what the run is known by."""
    plan = tmp_path / "plan.toml"
    imitated = '[[change]]\nname = "imitation"\nwhy = "cells"\nset = { imitation_weight = 1.0 }\n'
    plan.write_text(PLAN.partition("[[change]]")[0] + imitated)
    said = refusal(plan, data, "--output", tmp_path / "run")
    assert "imitation has an imitation_weight and nothing to imitate: name it with --detector FILE" in said
    detector = write_small_detector(tmp_path / "detector.onnx")
    classes = [f"--class={label}={number}" for label, number in CLASSES.items()]
    told = invoke(plan, data, "--output", tmp_path / "run", "--detector", detector, *classes)
    assert told.exit_code == 0, told.output
    runs = {run["arm"]: run["result"] for run in json.loads((tmp_path / "run" / "results.json").read_text())["runs"]}
    assert runs["imitation"]["configuration"]["imitation_weight"] == 1.0
    assert runs["imitation"]["data"] != runs["base"]["data"]
    other = write_small_detector(tmp_path / "other.onnx", side=96)
    said = refusal(plan, data, "--output", tmp_path / "run", "--detector", other, *classes, "--resume")
    assert "was trained on other data" in said


def test_the_report_is_written_anew_without_training(done: Path, data: Path, plan: Path, tmp_path: Path) -> None:
    """And into a document, between the marks with the name of the plan."""
    folder = tmp_path / "copy"
    shutil.copytree(done, folder)
    document = tmp_path / "page.md"
    document.write_text("Prose\n<!-- plan -->\n<!-- /plan -->\n")
    told = invoke(plan, data, "--output", folder, "--report-only", "--document", document)
    assert told.exit_code == 0, told.output
    assert "| mosaics |" in document.read_text()


@pytest.mark.usefixtures("untimed")
def test_going_on_trains_what_the_plan_has_more_and_keeps_the_rest(done: Path, data: Path, tmp_path: Path) -> None:
    folder, longer = tmp_path / "copy", tmp_path / "plan.toml"
    shutil.copytree(done, folder)
    longer.write_text(PLAN + SILENT)
    before = (folder / "seed_3" / "base" / "result.json").stat().st_mtime_ns
    told = invoke(longer, data, "--output", folder, "--resume")
    assert told.exit_code == 0, told.output
    assert "network 1 of 1: seed_3/no_teacher" in told.stderr
    assert (folder / "seed_3" / "base" / "result.json").stat().st_mtime_ns == before
    assert "| no teacher |" in (folder / "results.md").read_text()


def test_a_plan_that_changed_what_has_finished_is_refused(done: Path, data: Path, tmp_path: Path) -> None:
    """Another value is named; another budget of frames is another run."""
    folder, other = tmp_path / "copy", tmp_path / "plan.toml"
    shutil.copytree(done, folder)
    other.write_text(PLAN.replace("mosaic = 0.5", "mosaic = 0.25"))
    assert "'mosaic': 0.5" in refusal(other, data, "--output", folder, "--resume")
    other.write_text(PLAN.replace("epochs = 2", "epochs = 1"))
    assert "base was trained on other data" in refusal(other, data, "--output", folder, "--resume")
    assert json.loads((folder / "plan.json").read_text()) == json.loads((done / "plan.json").read_text())


def test_what_cannot_begin_is_refused_in_one_line(done: Path, data: Path, plan: Path, tmp_path: Path) -> None:
    assert "is not empty: --resume goes on with it" in refusal(plan, data, "--output", done)
    assert "holds no experiments" in refusal(plan, data, "--output", tmp_path, "--resume")
    bad = tmp_path / "plan.toml"
    bad.write_text(PLAN.replace("augmentation.mosaic = 0.5", 'network.trunk = "resnet1800"'))
    assert "mosaics: trunk 'resnet1800' cannot be used" in refusal(bad, data, "--output", tmp_path / "run")
    bad.write_text(PLAN.replace("mosaic = 0.5", "mosaic = 2"))
    assert f"{bad}: change 'mosaics': " in refusal(bad, data, "--output", tmp_path / "run")
