"""Times come from a clock of the test: no speed is asserted."""

from itertools import count

import pytest

from model_training.evaluation_report.served_model import ServedModel
from model_training.evaluation_report.variant_speed import variant_speeds, variants_beside
from service.inference.artifact import Artifact
from tests.model_training.images import write_image
from tests.model_training.tables import table_of
from tests.tiny_model import tiny_metadata, write_tiny_model


def write_variants(folder):
    model = write_tiny_model(folder / "tiny.onnx")
    for precision in ("int8", "float16"):
        metadata = tiny_metadata().model_copy(update={"precision": precision}).model_dump_json()
        write_tiny_model(folder / f"tiny.{precision}.onnx", metadata_json=metadata)
    return model


def clock_of(*durations_s):
    """A clock whose readings come in pairs, each pair one of the durations apart, over and over."""
    readings = (pair + part for n in count() for pair, part in ((n, 0.0), (n, durations_s[n % len(durations_s)])))
    return lambda: next(readings)


def test_variants_are_the_files_named_after_the_model(tmp_path):
    model = write_variants(tmp_path)
    write_tiny_model(tmp_path / "tiny.unproven.onnx")
    write_tiny_model(tmp_path / "other.int8.onnx")
    assert [path.name for path in variants_beside(model)] == ["tiny.int8.onnx", "tiny.float16.onnx"]


def test_ratios_are_those_within_each_round(tmp_path):
    """float32, int8 and float16 take turns: 12, 4 and 24 ms are ratios of 1, 3 and 1/2."""
    artifact = Artifact.read(write_variants(tmp_path))
    model = ServedModel.about(artifact, table_of([[1, 1]], ("red", "green")), 1)
    clock = clock_of(0.012, 0.004, 0.024)
    found = variant_speeds(model, [write_image(tmp_path / "0.png", 40, (12, 8))], rounds=5, clock=clock)
    assert [one.precision for one in found] == ["float32", "int8", "float16"]
    assert [one.frame_ms for one in found] == pytest.approx([12, 4, 24])
    assert [one.ratio for one in found] == pytest.approx([1, 3, 0.5])
    assert [one.low for one in found] == [one.high for one in found] == pytest.approx([1, 3, 0.5])
    assert [bool(one.remark) for one in found] == [False, False, True]
