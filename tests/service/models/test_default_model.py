"""The embedded default model is what its card says."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from model_training.data_description import load
from model_training.evaluation import figures, session_probabilities
from model_training.label_table import LabelTable
from model_training.model_card import figure_table, model_card
from service.inference.artifact import Artifact, Figure, Precision, variant_path
from service.inference.decoding import FrameLimits
from service.inference.detector import load_detector
from service.inference.variants import open_model
from service.settings import Settings

ROOT = Path(__file__).parents[3]
TEST_SETS = {
    "four_label": "stop_mbasilyan+lisa_ts",
    "camvid": "camvid",
    "kitti_mini": "kitti_mini",
    "adas_peru": "adas_peru",
}


@pytest.fixture(scope="module")
def embedded() -> Artifact:
    return Artifact.read(Settings().model)


@pytest.fixture(scope="module")
def stated(embedded: Artifact) -> Mapping[str, Mapping[tuple[str, str, str], Figure]]:
    """The figures in the metadata of the files that CPUs run, by precision and place."""
    precisions: tuple[Precision, ...] = ("float32", "int8")
    return {one: by_place(Artifact.read(variant_path(embedded.path, one)).metadata.figures) for one in precisions}


@pytest.fixture(scope="module")
def labelled(streetframes: Path) -> LabelTable:
    return load(streetframes)[0]


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
    """Each within 0.005 of its mean average precision on every test set, as the card tells it."""
    variant = open_model(embedded.path, "cpu", precision).artifact
    own, float32 = mean_precisions(variant), mean_precisions(embedded)
    assert own.keys() == float32.keys() == TEST_SETS.keys()
    assert own == pytest.approx(float32, abs=0.005 + 1e-4)  # the figures have four digits
    told = table_rows(embedded.path.with_suffix(".md"), "variant", "kept")
    told_of_it = {
        rows: (kept, float(figure.split()[0])) for name, kept, _, _, rows, figure in told if name == precision
    }
    assert told_of_it.pop("validation")[0] == "yes"
    assert told_of_it == {name: ("yes", pytest.approx(value, abs=1e-4)) for name, value in own.items()}


def mean_precisions(artifact: Artifact) -> dict[str, float]:
    return {figure.test_set: figure.value for figure in artifact.metadata.figures if figure.label == "mean"}


def table_rows(page: Path, *first: str) -> list[list[str]]:
    """The cells of the table whose heading begins so."""
    text = page.read_text(encoding="utf-8")
    (table,) = re.findall(rf"^\| {' [|] '.join(first)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()]


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize(
    ("test_set", "label", "least"),
    [
        ("four_label", "mean", 0.965),
        ("four_label", "pedestrian", 0.92),
        ("kitti_mini", "pedestrian", 0.684 - 0.02),
        ("adas_peru", "pedestrian", 0.825),
        ("four_label", "car", 0.999 - 0.01),
        ("four_label", "stop_sign", 0.983 - 0.01),
        ("four_label", "traffic_light", 0.929 - 0.01),
        ("camvid", "pedestrian", 0.985 - 0.02),
        ("camvid", "car", 1.000 - 0.02),
        ("kitti_mini", "car", 0.967 - 0.02),
        ("adas_peru", "car", 0.994 - 0.02),
    ],
)
def test_it_keeps_what_it_has_reached(
    stated: Mapping[str, Mapping[tuple[str, str, str], Figure]], precision: str, test_set: str, label: str, least: float
) -> None:
    """The average precision of the detector that people would use instead, less a little.

    Where it has not been reached (the card tells where), what there is, less a little.
    """
    assert stated[precision][test_set, label, "average_precision"].value >= least


def test_it_learned_from_the_frames_that_it_says(embedded: Artifact, labelled: LabelTable) -> None:
    """All of streetframes but the test rows: whoever trains it again with the same hash has the same data."""
    learned = labelled.rows(np.flatnonzero(np.asarray(labelled.splits) != "test"))
    said = embedded.metadata.training_data
    assert (len(learned), learned.content_hash()) == (said.frames, said.hash)


def test_card_is_that_of_the_files(embedded: Artifact) -> None:
    """All that stands in the metadata, what was measured of the file that CPUs run, and what a person has to say."""
    card = embedded.path.with_suffix(".md").read_text(encoding="utf-8")
    remarks = (ROOT / "model_training/street_remarks.md").read_text(encoding="utf-8")
    options = " ".join(f"--test-set {name}={sources}" for name, sources in TEST_SETS.items())
    told = model_card(embedded.metadata, f"roadcue-train evaluate street.onnx DATA {options}", remarks)
    before, after = told.split("## How it was made")
    assert card.startswith(before)
    assert card.endswith(after)
    int8 = Artifact.read(variant_path(embedded.path, "int8")).metadata
    assert "\n".join(figure_table(int8.figures)) in card


def test_card_tells_the_cost_that_was_measured(embedded: Artifact) -> None:
    """By benchmarks/per_frame.py, whose own test holds it to these very files."""
    measured = json.loads((ROOT / "benchmarks/per_frame.json").read_text())
    ratios = {(one["name"], one["other"]): one["times_as_fast"] for one in measured["ratios"]}
    of_its_time = [f"{1 / ratios[f'roadcue {name}', 'yolox_nano']:.2f}" for name in ("int8", "float32")]
    int8 = [f"{ratios[f'roadcue int8{part}', f'roadcue float32{part}']:.2f}" for part in ("", ", network alone")]
    card = " ".join(embedded.path.with_suffix(".md").read_text(encoding="utf-8").split())
    assert f"takes {of_its_time[0]} of YOLOX-nano's time and the float32 file {of_its_time[1]} of it" in card
    assert f"is {int8[0]} times as fast as float32 from the JPEG on, and {int8[1]} times in the network alone" in card


def test_figures_of_int8_come_out_again(embedded: Artifact, labelled: LabelTable) -> None:
    """Measured as `evaluate` does, without the intervals, which take the most time."""
    int8 = open_model(embedded.path, "cpu", "int8", threads=1)
    tested = labelled.rows(np.flatnonzero(np.asarray(labelled.splits) == "test"))
    metadata = int8.artifact.metadata
    size = metadata.input.height, metadata.input.width
    probabilities_NL = session_probabilities(int8.session, tested.images, size)
    thresholds = {label.key: label.threshold for label in metadata.labels}
    sets = {name: sources.split("+") for name, sources in TEST_SETS.items()}
    found = figures(tested, probabilities_NL, thresholds, sets, resamples=1)
    assert_close(found, metadata.figures)


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
    measured = [Figure.model_validate(figure) for figure in json.loads(done.stdout)["figures"]]
    assert_close(measured, embedded.metadata.figures)


def by_place(figures: Sequence[Figure]) -> dict[tuple[str, str, str], Figure]:
    """One figure each."""
    placed = {(figure.test_set, figure.label, figure.metric): figure for figure in figures}
    assert len(placed) == len(figures)
    return placed


def assert_close(measured: Sequence[Figure], stated: Sequence[Figure]) -> None:
    found, expected = by_place(measured), by_place(stated)
    assert found.keys() == expected.keys()
    for place, figure in expected.items():
        again = found[place]
        assert (again.n, again.positives, again.scenes) == (figure.n, figure.positives, figure.scenes)
        # Another processor's kernels may swap two frames of nearly equal score.
        assert again.value == pytest.approx(figure.value, abs=0.005), place
