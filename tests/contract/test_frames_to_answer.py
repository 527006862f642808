"""From labelled frames to an HTTP answer through the real commands: one file passes, and nothing else."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from model_training.cli import main
from service.inference.artifact import Artifact
from tests.model_training.painted_frames import write_painted_frames
from tests.service.server_process import ServerProcess

SETTINGS = {
    "height": 64,
    "width": 96,
    "epochs": 12,
    "learning_rate": 5e-3,
    "trunk_rate": 1.0,
    "average_share": 0.05,
    "validation": 0.2,
    "checkpoint_every_steps": 1,
}
PATIENCE_S = 300


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "model_training", *map(str, arguments)]


def run(*arguments: object) -> Result:
    """The command in this process, which need not load PyTorch anew."""
    return CliRunner().invoke(main, list(map(str, arguments)))


def succeeded(*arguments: object) -> Any:
    """What the command writes into a pipe: one JSON document, and nothing else."""
    done = run(*arguments)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_painted_frames(tmp_path_factory.mktemp("contract") / "data")
    (folder / "data.toml").write_text('labels = ["red", "green"]\n[[sources]]\nformat = "table"\npath = "."\n')
    return folder / "data.toml"


@pytest.fixture(scope="module")
def trained(data: Path) -> Path:
    """A run that was killed for real as soon as it had a checkpoint, and resumed."""
    folder = data.parent / "run"
    changes = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    train = ("train", data, "--recipe", "smoke", "--output", folder, "--device", "cpu", *changes)
    process = subprocess.Popen(command(*train), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end_s = time.monotonic() + PATIENCE_S
    while not (folder / "resume.pt").exists():
        assert process.poll() is None
        assert time.monotonic() < end_s
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    refused = run(*train)
    assert refused.exit_code == 1
    assert "is not empty: --resume goes on with it" in refused.stderr
    resumed = run(*train, "--resume")
    assert f"Next: roadcue-train export {folder} {data}" in resumed.stderr
    assert all(Path(path).is_file() for path in json.loads(resumed.stdout)["written"])
    return folder


@pytest.fixture(scope="module")
def told(trained: Path, data: Path) -> Any:
    """What the export found."""
    path = data.parent / "painted.onnx"
    # Of an older export, which the service would refuse beside a new file.
    path.with_name("painted.int8.onnx").write_text("old")
    flags = ("--name", "painted", "--threshold", "green:recall=0.7", "--test-set", "held_out=gallery", "--overwrite")
    return succeeded("export", trained, data, "--output", path, *flags)


@pytest.fixture(scope="module")
def model(told: Any, data: Path) -> Path:
    path = data.parent / "painted.onnx"
    assert told["written"][0] == str(path)
    assert told["verified"]["largest_differences"]["probabilities"] < 1e-4
    return path


def test_run_leaves_a_table_and_a_plot_of_its_epochs(trained: Path) -> None:
    """metrics.csv with one row an epoch, curves.png."""
    header, *epochs = (trained / "metrics.csv").read_text().splitlines()
    assert header == "epoch,learning_rate,loss,ap_red,ap_green,map,seconds"
    assert 1 < len(epochs) <= SETTINGS["epochs"]
    assert (trained / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_exported_model_answers_over_http(model: Path, data: Path) -> None:
    """Frames that training never saw, posted to the real server: those that show a colour get more for it."""
    server = ServerProcess("--model", str(model), "--device", "cpu")
    try:
        images = [data.parent / f"images/{number}.jpg" for number in range(56, 60)]
        files = [("files", (image.name, image.read_bytes())) for image in images]
        reply = httpx.post(f"{server.ready().url}/predict", files=files, timeout=60).json()
    finally:
        server.kill()
    assert reply["model"] == {"name": "painted", "version": "1.0.0"}
    # Frame n shows red when n is odd and green when n // 2 is; thresholds from a handful of rows are left aside.
    neither, red, green, both = (frame["probabilities"] for frame in reply["frames"])
    assert min(red["red"], both["red"]) > max(neither["red"], green["red"])
    assert min(green["green"], both["green"]) > max(neither["green"], red["green"])
    for frame in reply["frames"]:
        decided = [label for label, p in frame["probabilities"].items() if p >= reply["thresholds"][label]]
        assert frame["labels"] == decided


@pytest.mark.parametrize("precision", ["int8", "float16"])
def test_variants_are_written_as_far_as_they_hold(model: Path, told: Any, precision: str) -> None:
    """Whether this network's do, is seen on a handful of frames; the export and its card say it, and why."""
    judged = next(one for one in told["variants"] if one["precision"] == precision)
    path = model.with_name(f"painted.{precision}.onnx")
    assert [one["name"] for one in judged["parity"]] == ["validation", "held_out"]
    assert path.exists() == judged["holds"] == (str(path) in told["written"])
    assert f"| {precision} | {'yes' if path.exists() else 'no'} |" in model.with_suffix(".md").read_text()
    assert sorted(judged["distances"]) == (["entropy", "minmax", "percentile"] if precision == "int8" else [])
    assert [(one["label"], one["rule"]["metric"]) for one in judged["reached"]] == [("red", "f1"), ("green", "recall")]
    assert not list(model.parent.glob("*.unproven*"))
    if path.exists():
        variant, float32 = Artifact.read(path).metadata, Artifact.read(model).metadata
        assert (variant.precision, variant.created) == (precision, float32.created)
        figures = [{f.test_set for f in one.figures} for one in (variant, float32)]
        assert figures == [{"held_out"}, {"held_out"}]


def test_thresholds_carry_the_rule_they_were_chosen_by(model: Path) -> None:
    """In the file and in its card."""
    red, green = Artifact.read(model).metadata.labels
    assert (red.rule.metric, green.rule.metric, green.rule.at_least) == ("f1", "recall", 0.7)
    assert "| highest with recall >= 0.7 |" in model.with_suffix(".md").read_text()


def test_rule_for_a_label_that_is_none_is_refused(trained: Path, data: Path, tmp_path: Path) -> None:
    """Before anything is written."""
    refused = run("export", trained, data, "--output", tmp_path / "m.onnx", "--threshold", "blue:f1")
    assert refused.exit_code == 1
    assert "'blue' is no label; the labels are red, green" in refused.stderr
    assert not list(tmp_path.iterdir())


def test_card_and_metadata_carry_what_evaluate_prints(model: Path, data: Path) -> None:
    """The figures come out again, and the file, its card and the command agree."""
    page = model.with_suffix(".html")
    printed = succeeded("evaluate", model, data, "--test-set", "held_out=gallery", "--output", page)["figures"]
    metadata = Artifact.read(model).metadata
    assert printed == [figure.model_dump() for figure in metadata.figures]
    card = model.with_suffix(".md").read_text()
    assert "roadcue-train evaluate painted.onnx DATA --test-set held_out=gallery" in card
    mean = next(figure for figure in metadata.figures if figure.label == "mean")
    assert f"| held_out | mean | {mean.n} | {mean.positives} | {mean.scenes} | {mean.value:.3f}" in card
    assert mean.value > 0.9


def test_rows_of_a_run_that_the_file_was_not_made_of_are_not_held_out(
    model: Path, trained: Path, data: Path, tmp_path: Path
) -> None:
    """It would be measured on what it was trained on; what another seed holds out is other rows."""
    other = tmp_path / "other"
    train = ("train", data, "--recipe", "smoke", "--output", other, "--device", "cpu", "--set", "seed=1")
    succeeded(*train, "--set", "validation=0.2")
    evaluate = ("evaluate", model, data, "--part", "none", "--output", tmp_path / "page.html", "--run")
    refused = run(*evaluate, other)
    assert refused.exit_code == 1
    assert f"{model} does not answer like the network of {other}" in refused.stderr
    held_out = succeeded(*evaluate, trained)["held_out_figures"]
    assert {figure["test_set"] for figure in held_out} == {"validation", "calibration"}


def test_verify_compares_as_many_frames_as_it_is_asked_to(model: Path, trained: Path, data: Path) -> None:
    """Also more than its default."""
    assert succeeded("verify", model, trained, data, "--frames", 45)["verified"]["frames"] == 45


def test_export_refuses_data_that_have_changed_since(trained: Path, data: Path, tmp_path: Path) -> None:
    """A row that was trained on would otherwise come back as one to calibrate on."""
    changed = tmp_path / "changed"
    shutil.copytree(data.parent, changed, ignore=shutil.ignore_patterns("run", "*.onnx"))
    table = changed / "labels.csv"
    table.write_text(table.read_text().replace("images/2.jpg,0,1", "images/2.jpg,1,1"))
    refused = run("export", trained, changed / "data.toml", "--output", tmp_path / "m.onnx")
    assert refused.exit_code == 1
    assert "was trained with other data" in refused.stderr
    assert not list(tmp_path.glob("*.onnx"))


def test_data_without_test_rows_are_exported_without_figures(trained: Path, data: Path, tmp_path: Path) -> None:
    """The card says so by having none; the file names no licence that nobody gave it."""
    plain = tmp_path / "plain"
    shutil.copytree(data.parent, plain, ignore=shutil.ignore_patterns("run", "*.onnx"))
    rows = (plain / "labels.csv").read_text().splitlines()
    (plain / "labels.csv").write_text("\n".join(row for row in rows if ",test," not in row) + "\n")
    boxes = (plain / "boxes.csv").read_text().splitlines()
    known = {row.split(",")[0] for row in rows if ",test," not in row}
    (plain / "boxes.csv").write_text("\n".join(row for row in boxes if row.split(",")[0] in known) + "\n")
    exported = tmp_path / "plain.onnx"
    done = run("export", trained, plain / "data.toml", "--output", exported, "--variant", "none", "--format", "table")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("Verified: self-test reproduced; on ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain", "plain.md", "plain.onnx"]
    metadata = Artifact.read(tmp_path / "plain.onnx").metadata
    assert (metadata.figures, metadata.licence) == ((), "unstated")
    assert "## Figures" not in (tmp_path / "plain.md").read_text()


def test_verify_passes_for_its_own_run_and_fails_for_a_damaged_file(
    model: Path, trained: Path, data: Path, tmp_path: Path
) -> None:
    """Exit code 0 with what was measured; 1 with one line for a file whose weights were changed."""
    passed = run("verify", model, trained, data, "--format", "table")
    said = (
        r"Verified: self-test reproduced; on 32 frames probabilities differ from the network's by at most \d\.\de-\d\d,"
    )
    assert passed.exit_code == 0
    assert re.match(said, passed.stdout)
    damaged = bytearray(model.read_bytes())
    # In the middle of the weights: the file stays readable, its answers do not stay the same.
    middle = len(damaged) // 2
    damaged[middle : middle + 4000] = bytes(4000)
    (tmp_path / "damaged.onnx").write_bytes(damaged)
    refused = run("verify", tmp_path / "damaged.onnx", trained, data)
    assert refused.exit_code == 1
    assert refused.stderr.startswith("Error: ")
    assert len(refused.stderr.splitlines()) == 1


def test_export_refuses_to_overwrite(model: Path, trained: Path, data: Path) -> None:
    """And says what would."""
    refused = run("export", trained, data, "--output", model)
    assert refused.exit_code == 1
    assert "--overwrite replaces it" in refused.stderr
