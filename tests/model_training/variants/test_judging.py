"""Variants are made of the float32 file, prove themselves, and are judged by every set of rows."""

from pathlib import Path

import numpy as np
import pytest

from model_training.data_description import load
from model_training.held_out import HeldOut
from model_training.tracking import untracked
from model_training.variants import judging
from model_training.variants.judging import VARIANTS, Variant, VariantMaker, spread_over_sources
from model_training.variants.quantization import RANGE_METHODS
from service.inference.artifact import Artifact
from service.inference.session import ModelSession
from tests.model_training.painted_frames import write_painted_frames
from tests.model_training.small_network import small_network, write_small_network


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = write_painted_frames(tmp_path_factory.mktemp("variants") / "data", count=30, test=10)
    (folder / "data.toml").write_text('labels = ["red", "green"]\n[[sources]]\nformat = "table"\npath = "."\n')
    return load(folder / "data.toml")[0]


@pytest.fixture
def maker(tmp_path, table):
    """Of 40 frames, 16 to learn ranges from, 8 to choose by, 6 that chose thresholds and 10 to test on."""
    float32 = write_small_network(tmp_path / "small.unproven.onnx")
    return maker_of(float32, table)


def maker_of(float32, table, tracking=untracked):
    train, validation, calibration, test = (
        table.rows(np.arange(start, end)) for start, end in ((0, 16), (16, 24), (24, 30), (30, 40))
    )
    decided = calibration.images, HeldOut.of(calibration)
    destination = float32.with_name("small.onnx")
    return VariantMaker(float32, destination, train, validation, decided, {"gallery": test}, tracking)


def test_every_long_part_is_tracked(table, tmp_path):
    """What learns, chooses and judges; an int8 file is chosen among two."""
    asked = []

    def tracking(items, description, total):
        asked.append((description, total))
        return items

    float32 = write_small_network(tmp_path / "small.unproven.onnx")
    maker = maker_of(float32, table, tracking)
    sets = ("validation", "gallery", "calibration")
    assert asked == [(f"float32: {name}", 1) for name in sets]
    maker.made("int8")
    methods = [name.removeprefix("int8: ranges by ") for name, total in asked if total == 16]
    assert methods == list(RANGE_METHODS)
    assert asked[-3:] == [(f"int8: {name}", 1) for name in sets]


@pytest.mark.parametrize("precision", VARIANTS)
def test_variant_is_the_same_model_in_another_precision(maker, tmp_path, precision):
    """With self-test vectors of its own, which it reproduces."""
    variant = maker.made(precision)
    assert variant.path == tmp_path / f"small.{precision}.unproven.onnx"
    made, source = (Artifact.read(path) for path in (variant.path, tmp_path / "small.unproven.onnx"))
    apart = {"precision", "self_test"}
    assert made.metadata.model_dump(exclude=apart) == source.metadata.model_dump(exclude=apart)
    assert made.metadata.precision == precision
    ModelSession(made, "cpu").check_self_test()
    (own,), (before,) = made.metadata.self_test, source.metadata.self_test
    assert (own.pixels, own.tolerance) == (before.pixels, 0.02)
    assert own.probabilities == pytest.approx(before.probabilities, abs=0.03)


def test_variant_is_judged_on_validation_and_test_rows(maker):
    variant = maker.made("float16")
    assert [found.name for found in variant.parity] == ["validation", "gallery"]
    assert variant.holds
    assert variant.size_bytes == variant.path.stat().st_size
    assert variant.method is None


def test_variant_tells_what_float32s_thresholds_make_of_its_answers(table, tmp_path, monkeypatch):
    """float32 says 0.05 of what is not there and at least 0.1 of what is; a network that sees nothing finds nothing."""
    maker = maker_of(write_small_network(tmp_path / "small.unproven.onnx", threshold=0.08), table)
    found = {"int8": maker.made("int8").reached}
    monkeypatch.setattr(judging, "halved", lambda model: blind_network())
    found["float16"] = maker.made("float16").reached
    for precision, f1 in (("int8", 1.0), ("float16", 0.0)):
        assert [(one.label, one.rule.metric, one.float32, one.variant) for one in found[precision]] == [
            ("red", "f1", 1.0, f1),
            ("green", "f1", 1.0, f1),
        ]


def test_int8_takes_the_ranges_that_come_nearest_to_float32(maker, monkeypatch):
    """Here all but one way to learn them gives a network that says the same of every frame."""
    monkeypatch.setattr(
        judging, "quantized", lambda model, frames, method: model if method == "entropy" else blind_network()
    )
    variant = maker.made("int8")
    assert (variant.method, variant.holds) == ("entropy", True)
    assert variant.distances["entropy"] == pytest.approx(0, abs=1e-6)
    assert variant.distances["minmax"] == variant.distances["percentile"] > 0.01


def test_variant_that_ranks_frames_otherwise_does_not_hold(maker, monkeypatch):
    """A network that sees nothing."""
    monkeypatch.setattr(judging, "halved", lambda model: blind_network())
    variant = maker.made("float16")
    assert not variant.holds
    assert min(found.difference for found in variant.parity) < -0.1


def test_variant_that_no_rows_can_judge_does_not_hold():
    """Frames of one kind rank alike under any model."""
    assert not Variant("int8", Path("small.int8.onnx"), (), 1).holds


def blind_network():
    return small_network(strength=0.0)


def test_learning_frames_come_from_every_source_in_turn():
    """Two of the small source and two of the large, not one and three."""
    sources = ["large"] * 8 + ["small"] * 2
    rows = spread_over_sources(sources, 4)
    assert sorted(sources[row] for row in rows) == ["large", "large", "small", "small"]
    assert len(set(spread_over_sources(sources, 99))) == len(sources)
    assert spread_over_sources(sources, 4) == rows
    assert spread_over_sources(sources, 4, seed=1) != rows


def test_only_train_frames_teach_ranges(maker, table, monkeypatch):
    """Neither those that choose nor those that test."""
    read: list[Path] = []

    class Frames(judging.EvaluationFrames):
        def __init__(self, images, height, width):
            read.extend(images)
            super().__init__(images, height, width)

    monkeypatch.setattr(judging, "EvaluationFrames", Frames)
    maker.made("int8")
    assert set(read) == set(table.images[:16])
