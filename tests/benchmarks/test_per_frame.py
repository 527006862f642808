"""The benchmark compares what it says it compares; no speed is asserted."""

import csv
import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner

from service.inference.variants import files_beside
from service.settings import DEFAULT_MODEL
from tests.model_training.images import write_image
from tests.tiny_model import tiny_metadata, write_tiny_model


@pytest.fixture(scope="module")
def per_frame(repository: Path) -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("per_frame", repository / "benchmarks" / "per_frame.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class Sleeper:
    """A contender that takes `ticks` of the test's clock, whose time stands still between."""

    def __init__(self, clock: "StandingClock", ticks: float) -> None:
        self._clock, self._ticks, self.asked = clock, ticks, 0

    def __call__(self, data: bytes) -> list[float]:
        self.asked += 1
        # A frame that is twice as long takes everybody twice as long.
        self._clock.now_s += self._ticks * len(data)
        return []


class StandingClock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_ratio_is_taken_within_a_frame(per_frame: ModuleType) -> None:
    """Frames differ by a factor of ten, the contenders by two and by three on each: so do the ratios.

    Half a tick is decoding: the networks alone differ by three.
    """
    clock = StandingClock()
    ticks = {"roadcue float32": 2.0, "roadcue int8": 1.0, per_frame.DECODING: 0.5, per_frame.YARDSTICK: 3.0}
    them = [per_frame.Contender(name, Sleeper(clock, each)) for name, each in ticks.items()]
    seconds_RV = per_frame.measure(them, [b"x", b"x" * 10], 20, clock)
    assert seconds_RV.shape == (20, 4)
    assert {one.answer.asked for one in them} == {20 + per_frame.WARM_UP_ROUNDS}
    found = {(r.name, r.other): (r.times_as_fast, r.low, r.high) for r in per_frame.ratios(them, seconds_RV)}
    assert found == {
        ("roadcue float32", per_frame.YARDSTICK): (1.5, 1.5, 1.5),
        ("roadcue int8", per_frame.YARDSTICK): (3.0, 3.0, 3.0),
        ("roadcue int8", "roadcue float32"): (2.0, 2.0, 2.0),
        ("roadcue int8, network alone", "roadcue float32, network alone"): (3.0, 3.0, 3.0),
    }


def test_median_and_middle_half_are_of_the_frames(per_frame: ModuleType) -> None:
    """Of 1, 2, 3, 4 and 100 ms, one hundred does not move the median."""
    them = [per_frame.Contender("roadcue float32", lambda data: [])]
    (timing,) = per_frame.timings(them, np.array([[0.1], [0.001], [0.004], [0.002], [0.003]]))
    assert (timing.median_ms, timing.lower_quartile_ms, timing.upper_quartile_ms) == (3, 2, 4)


def test_yardstick_scores_as_its_own_script_does(
    per_frame: ModuleType, yardstick: Path, streetframes: Path, tmp_path: Path
) -> None:
    """On three real photographs."""
    folder = streetframes / "images" / "coco_subsets"
    images = sorted(folder.glob("*.jpg"))[:3]
    for image in images:
        shutil.copy(image, tmp_path)
    (tmp_path / "labels.csv").write_text("image\n" + "".join(f"{image.name}\n" for image in images))
    script = [sys.executable, yardstick / "presence_scores.py", yardstick / "yolox_nano.onnx", tmp_path]
    subprocess.run([*map(str, script), str(tmp_path / "scores.csv")], check=True, timeout=120)
    with (tmp_path / "scores.csv").open() as file:
        expected = [[float(value) for value in list(row.values())[1:]] for row in csv.DictReader(file)]
    detector = per_frame.Detector(yardstick / "yolox_nano.onnx")
    seen = [detector(image.read_bytes()) for image in images]
    np.testing.assert_allclose(seen, expected, atol=6e-5)


def test_published_figures_are_those_of_the_embedded_files_which_are_fast_enough(repository: Path) -> None:
    """Faster than the detector, and int8's network at least 1.7 times as fast as float32's."""
    published = json.loads((repository / "benchmarks" / "per_frame.json").read_text())
    models = {name: path.read_bytes() for name, path in files_beside(DEFAULT_MODEL).items()}
    assert published["files"] == {name: hashlib.sha256(content).hexdigest() for name, content in models.items()}
    times_as_fast = {(one["name"], one["other"]): one["times_as_fast"] for one in published["ratios"]}
    assert times_as_fast["roadcue int8", "yolox_nano"] > 1
    assert times_as_fast["roadcue int8, network alone", "roadcue float32, network alone"] >= 1.7
    assert times_as_fast["roadcue int8", "roadcue float32"] > 1.6


def test_frames_come_from_every_source_in_turn(per_frame: ModuleType, tmp_path: Path) -> None:
    rows = [("a", "0"), ("a", "1"), ("a", "2"), ("b", "3")]
    for _, image in rows:
        (tmp_path / image).write_bytes(image.encode())
    (tmp_path / "labels.csv").write_text("image,source\n" + "".join(f"{image},{source}\n" for source, image in rows))
    assert per_frame.spread_frames(tmp_path, 3) == [b"0", b"3", b"1"]


def test_command_writes_a_table_and_its_figures(
    per_frame: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file of the model is measured; without the yardstick ours are compared among themselves."""
    monkeypatch.setattr(per_frame, "pin_to_one_core", lambda: None)
    model = write_tiny_model(tmp_path / "tiny.onnx")
    int8 = tiny_metadata().model_copy(update={"precision": "int8"}).model_dump_json()
    write_tiny_model(tmp_path / "tiny.int8.onnx", metadata_json=int8)
    write_image(tmp_path / "a.png", 40, (12, 8))
    (tmp_path / "labels.csv").write_text("image,source\na.png,s\n")
    flags = ["--model", model, "--frames", tmp_path, "--yardstick", tmp_path / "absent.onnx", "--rounds", 20]
    done = CliRunner().invoke(per_frame.main, [*map(str, flags), "--output", str(tmp_path / "per_frame")])
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "per_frame.json").read_text())
    assert [timing["name"] for timing in report["timings"]] == ["roadcue float32", "roadcue int8", per_frame.DECODING]
    assert [(ratio["name"], ratio["other"]) for ratio in report["ratios"]] == [
        ("roadcue int8", "roadcue float32"),
        ("roadcue int8, network alone", "roadcue float32, network alone"),
    ]
    assert report["model"] == "tiny 0.0.1 (8 x 12 pixels)"
    assert report["files"]["float32"] == hashlib.sha256(model.read_bytes()).hexdigest()
    text = (tmp_path / "per_frame.md").read_text()
    assert f"| {report['ratios'][0]['times_as_fast']:.2f} (" in text
    assert f"| roadcue int8 | {report['timings'][1]['median_ms']:.2f} |" in text
