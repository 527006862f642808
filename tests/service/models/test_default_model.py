"""The embedded default model is what its card says."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from service.inference.artifact import Artifact, Precision
from service.inference.decoding import FrameLimits
from service.inference.detector import load_detector
from service.inference.variants import files_beside, open_model
from service.settings import Settings

TEST_SETS = {
    "four_label": "stop_mbasilyan+lisa_ts",
    "camvid": "camvid",
    "kitti_mini": "kitti_mini",
    "adas_peru": "adas_peru",
}


@pytest.fixture(scope="module")
def embedded() -> Artifact:
    return Artifact.read(Settings().model)


def test_it_loads_and_reproduces_its_self_test(embedded: Artifact) -> None:
    """With the four default labels in their order."""
    detector = load_detector(embedded.path, "cpu", 1, FrameLimits())
    assert tuple(detector.thresholds) == ("pedestrian", "car", "stop_sign", "traffic_light")


def test_it_was_exported_from_a_committed_state(embedded: Artifact) -> None:
    """Name, version, licences and revision are told."""
    metadata = embedded.metadata
    assert (metadata.name, metadata.licence) == ("street", "Apache-2.0")
    assert metadata.training_data.licences == ("CC-BY-4.0", "CC0-1.0")
    assert re.fullmatch("[0-9a-f]{40}", metadata.git_revision)


@pytest.mark.parametrize("precision", ["int8", "float16"])
def test_variants_beside_it_run_and_keep_its_ranking(embedded: Artifact, precision: Precision) -> None:
    """Each within 0.005 of its mean average precision on every test set; one that was not within is not there."""
    if precision not in files_beside(embedded.path):
        pytest.skip(f"the embedded model has no {precision} file")
    variant = open_model(embedded.path, "cpu", precision).artifact.metadata
    means = [{f.test_set: f.value for f in one.figures if f.label == "mean"} for one in (variant, embedded.metadata)]
    assert means[0] == pytest.approx(means[1], abs=0.005 + 1e-4)  # the figures have four digits


def test_it_reaches_what_a_first_model_must(embedded: Artifact) -> None:
    """A mean average precision of 0.90 or more on the four-label test."""
    mean = next(f for f in embedded.metadata.figures if (f.test_set, f.label) == ("four_label", "mean"))
    assert mean.value >= 0.90


def test_card_tells_the_figures_of_the_file(embedded: Artifact) -> None:
    """Every average precision with its interval, n and positives."""
    card = embedded.path.with_suffix(".md").read_text(encoding="utf-8")
    assert embedded.metadata.training_data.hash in card
    for f in embedded.metadata.figures:
        if f.metric == "average_precision":
            row = f"| {f.test_set} | {f.label} | {f.n} | {f.positives} | {f.value:.3f} ({f.low:.3f} to {f.high:.3f}) |"
            assert row in card


def test_figures_come_out_again_from_the_printed_command(
    embedded: Artifact, streetframes: Path, tmp_path: Path
) -> None:
    """`roadcue-train evaluate` on the test rows, as the card prints it."""
    card = embedded.path.with_suffix(".md").read_text(encoding="utf-8")
    options = [part for name, sources in TEST_SETS.items() for part in ("--test-set", f"{name}={sources}")]
    assert f"roadcue-train evaluate street.onnx DATA {' '.join(options)}" in card
    command = [sys.executable, "-m", "model_training", "evaluate", str(embedded.path), str(streetframes)]
    quick = ["--part", "none", "--output", str(tmp_path / "report.html"), "--format", "json"]
    done = subprocess.run([*command, *options, *quick], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    measured = {(f["test_set"], f["label"], f["metric"]): f for f in json.loads(done.stdout)["figures"]}
    stored = {(f.test_set, f.label, f.metric): f for f in embedded.metadata.figures}
    assert stored.keys() == measured.keys()
    for key, figure in stored.items():
        assert (measured[key]["n"], measured[key]["positives"]) == (figure.n, figure.positives)
        # Another processor's kernels may swap two frames of nearly equal score.
        assert measured[key]["value"] == pytest.approx(figure.value, abs=0.005), key
