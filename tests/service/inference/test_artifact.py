"""A model file is read whole and right, or refused with what is wrong."""

import base64
import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper, helper
from pydantic import ValidationError

from service.errors import ModelFileError
from service.inference.artifact import (
    EVIDENCE,
    INPUT,
    LABEL_KEY,
    METADATA_KEY,
    PROBABILITIES,
    Artifact,
    SelfTestVector,
    enlarge,
)
from tests.tiny_model import GRID, HEIGHT, WIDTH, tiny_metadata, write_tiny_model

Document = dict[str, Any]
Change = Callable[[Document], object]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the model goes."""
    return tmp_path / "model.onnx"


def changed_metadata(change: Change) -> str:
    """The tiny model's metadata with one mistake."""
    document = json.loads(tiny_metadata().model_dump_json())
    change(document)
    return json.dumps(document)


def write_with(path: Path, change: Change) -> Path:
    """The tiny model with one mistake in its metadata."""
    return write_tiny_model(path, metadata_json=changed_metadata(change))


def write_graph(path: Path, change: Callable[[onnx.ModelProto], object]) -> Path:
    """The tiny model with one mistake in its graph."""
    model = onnx.load(write_tiny_model(path))
    change(model)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("key", ["car", "stop_sign", "lane_2", "a1_b_c"])
def test_label_key_is_words_joined_by_single_underscores(key: str) -> None:
    assert re.fullmatch(LABEL_KEY, key)


@pytest.mark.parametrize("key", ["", "Car", "1car", "_car", "car_", "stop__sign", "stop-sign", "stop sign", "straße"])
def test_what_is_no_label_key_does_not_match(key: str) -> None:
    assert not re.fullmatch(LABEL_KEY, key)


# Reading


def test_artifact_holds_what_was_written(path: Path) -> None:
    write_tiny_model(path, labels=("red", "green", "blue"), threshold=0.25)
    artifact = Artifact.read(path)
    assert artifact.path == path
    assert artifact.content == path.read_bytes()
    assert artifact.metadata == tiny_metadata(("red", "green", "blue"), 0.25)
    assert artifact.metadata.label_keys == ("red", "green", "blue")


def test_metadata_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        tiny_metadata().name = "other"  # type: ignore[misc]


def test_missing_file_is_named(path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"model\.onnx cannot be read: No such file or directory"):
        Artifact.read(path)


def test_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="cannot be read: Is a directory"):
        Artifact.read(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_is_refused(path: Path) -> None:
    write_tiny_model(path).chmod(0)
    with pytest.raises(ModelFileError, match="cannot be read: Permission denied"):
        Artifact.read(path)


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"a text", b"\x89PNG\r\n\x1a\n"])
def test_what_is_not_onnx_is_refused(path: Path, content: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=rf"model\.onnx \({len(content)} bytes\) is not an ONNX model"):
        Artifact.read(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_cut_file_is_refused(path: Path, share: float) -> None:
    content = write_tiny_model(path).read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelFileError, match=r"model\.onnx"):
        Artifact.read(path)


def test_network_of_an_unknown_operator_is_refused(path: Path) -> None:
    write_graph(path, lambda model: setattr(model.graph.node[0], "op_type", "Conjure"))
    with pytest.raises(ModelFileError, match=r"is not an ONNX model that can be loaded.*Conjure"):
        Artifact.read(path)


# Metadata


@pytest.mark.parametrize("in_a_node", [False, True])
def test_weights_in_another_file_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch, in_a_node: bool) -> None:
    """The fingerprint would not tell that they changed; ONNX Runtime takes them from the working directory."""
    monkeypatch.chdir(path.parent)

    model = onnx.load(write_tiny_model(path))
    (scale,) = (tensor for tensor in model.graph.initializer if tensor.name == "scale")
    Path("scale.bin").write_bytes(scale.raw_data)
    external_data_helper.set_external_data(scale, "scale.bin")
    scale.ClearField("raw_data")
    if in_a_node:
        model.graph.node.insert(0, helper.make_node("Constant", [], ["scale"], value=scale))
        model.graph.initializer.remove(scale)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match="it has external data: export it as one file"):
        Artifact.read(path)


def test_file_of_somebody_else_is_refused(path: Path) -> None:
    write_graph(path, lambda model: model.ClearField("metadata_props"))
    with pytest.raises(ModelFileError, match=r"has no 'roadcue' metadata.*export it again"):
        Artifact.read(path)


@pytest.mark.parametrize("text", ["", "{", "{'name': 'tiny'}", "\0"])
def test_metadata_that_is_not_json_is_refused(path: Path, text: str) -> None:
    write_graph(path, lambda model: helper.set_model_props(model, {METADATA_KEY: text}))
    with pytest.raises(ModelFileError, match="the 'roadcue' metadata is not JSON"):
        Artifact.read(path)


@pytest.mark.parametrize(
    ("document", "version"), [("[]", "None"), ("3", "None"), ("{}", "None"), ('{"schema_version": 3}', "3")]
)
def test_unknown_schema_is_refused_with_what_to_do(path: Path, document: str, version: str) -> None:
    write_tiny_model(path, metadata_json=document)
    with pytest.raises(
        ModelFileError, match=f"metadata schema {version}; this version of roadcue reads schema 1 and 2. Use"
    ):
        Artifact.read(path)


@pytest.mark.parametrize("field", sorted(set(json.loads(tiny_metadata().model_dump_json())) - {"figures"}))
def test_missing_field_is_named(path: Path, field: str) -> None:
    write_with(path, lambda document: document.pop(field))
    with pytest.raises(ModelFileError, match="metadata schema None" if field == "schema_version" else field):
        Artifact.read(path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda d: d.update(colour="red"), "colour"),
        (lambda d: d["labels"][0].update(weight=1), "weight"),
        (lambda d: d["labels"][0].update(threshold=1.5), "threshold"),
        (lambda d: d["labels"][0].update(threshold=float("nan")), "threshold"),
        (lambda d: d["labels"][0].update(key="Stop sign"), r"labels\.0\.key: String should match pattern"),
        (lambda d: d["labels"][0].update(key="stop__sign"), r"labels\.0\.key: String should match pattern"),
        (lambda d: d["labels"][0].update(key="red\n"), r"labels\.0\.key: String should match pattern"),
        (lambda d: d["labels"][1].update(key="red"), r"labels repeat \['red'\]"),
        (lambda d: d.update(labels=[]), "labels"),
        (lambda d: d.update(precision="bfloat16"), "precision"),
        (lambda d: d["input"].update(height=0), "height"),
        (lambda d: d["input"].update(resize="crop"), "resize"),
        (lambda d: d.update(evidence_grid=[0, 3]), "evidence_grid"),
        (lambda d: d.update(evidence_grid=[2, 3, 4]), "evidence_grid"),
        (lambda d: d["calibration"].pop("green"), r"calibration is for \['red'\]; the labels are \['green', 'red'\]"),
        (lambda d: d["calibration"].update(blue=d["calibration"]["red"]), "calibration is for"),
        (lambda d: d["calibration"]["red"].update(temperature=0), "temperature"),
        (lambda d: d["calibration"]["red"].update(bias=float("inf")), "bias"),
        (lambda d: d.update(self_test=[]), "self_test"),
        (lambda d: d["self_test"][0].update(tolerance=0), "tolerance"),
        (lambda d: d["self_test"][0].update(tolerance=float("inf")), "tolerance"),
        (lambda d: d["self_test"][0].update(probabilities=[0.5]), "self-test 1 has 1 probabilities for 2 labels"),
        (lambda d: d["self_test"][0].update(probabilities=[0.5, float("nan")]), "probabilities"),
        (lambda d: d["self_test"][0].update(pixels="AAAA"), "pixels hold 3 bytes; 2 x 2 x 3 = 12 are needed"),
        (lambda d: d["self_test"][0].update(pixels="AAA"), "pixels are not base64"),
        (lambda d: d["self_test"][0].update(pixels="*" * 16), "pixels are not base64"),
        (lambda d: d["self_test"][0].update(pixels="ä" * 16), "pixels are not base64"),
        (lambda d: d["self_test"][0].update(height=10**9, width=10**9), "pixels hold 12 bytes"),
    ],
)
def test_metadata_that_makes_no_sense_is_refused(path: Path, change: Change, named: str) -> None:
    write_with(path, change)
    with pytest.raises(ModelFileError, match=rf"model\.onnx: the metadata is not valid: .*{named}"):
        Artifact.read(path)


# Graph


def declared(name: str, element: int, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    """One input or output as a graph declares it."""
    return helper.make_tensor_value_info(name, element, shape)


@pytest.mark.parametrize(
    ("metadata_change", "named"),
    [
        (lambda d: d["input"].update(height=16), r"16, 12, 3"),
        (lambda d: d["input"].update(width=24), r"8, 24, 3"),
        (lambda d: d.update(evidence_grid=[3, 2]), r"3, 2\]"),
    ],
)
def test_metadata_that_disagrees_with_the_graph_is_refused(path: Path, metadata_change: Change, named: str) -> None:
    write_with(path, metadata_change)
    with pytest.raises(ModelFileError, match=f"the graph has .* where its metadata says .*{named}"):
        Artifact.read(path)


def test_more_labels_than_the_graph_answers_are_refused(path: Path) -> None:
    write_tiny_model(path, ("red",), metadata_json=tiny_metadata(("red", "green")).model_dump_json())
    with pytest.raises(ModelFileError, match=r"'probabilities': \('tensor\(float\)', \['B', 1\]\)"):
        Artifact.read(path)


def replace_input(model: onnx.ModelProto) -> None:
    """Float frames instead of bytes."""
    model.graph.input[0].CopyFrom(declared(INPUT, TensorProto.FLOAT, ["B", HEIGHT, WIDTH, 3]))


def rename_output(model: onnx.ModelProto) -> None:
    """Probabilities under another name."""
    model.graph.node[-1].output[0] = "scores"
    model.graph.output[0].name = "scores"


def fix_batch(model: onnx.ModelProto) -> None:
    """A graph for one frame at a time."""
    model.graph.input[0].CopyFrom(declared(INPUT, TensorProto.UINT8, [1, HEIGHT, WIDTH, 3]))


def add_output(model: onnx.ModelProto) -> None:
    """One more output."""
    model.graph.output.append(declared("colours", TensorProto.FLOAT, ["B", 2, HEIGHT, WIDTH]))


def drop_evidence(model: onnx.ModelProto) -> None:
    """No evidence among the outputs."""
    del model.graph.output[1]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (replace_input, r"'frames': \('tensor\(float\)'"),
        (rename_output, "'scores'"),
        (fix_batch, r"'frames': \('tensor\(uint8\)', \[1, 8, 12, 3\]\)"),
        (add_output, "'colours'"),
        (drop_evidence, "the graph has"),
    ],
)
def test_graph_of_another_signature_is_refused(
    path: Path, change: Callable[[onnx.ModelProto], object], named: str
) -> None:
    write_graph(path, change)
    with pytest.raises(ModelFileError, match=named):
        Artifact.read(path)


@pytest.mark.parametrize("name", ["batch", "N", ""])
def test_name_of_the_batch_axis_does_not_matter(path: Path, name: str) -> None:
    def rename(model: onnx.ModelProto) -> None:
        shapes = {INPUT: [HEIGHT, WIDTH, 3], PROBABILITIES: [2], EVIDENCE: [2, *GRID]}
        for tensor in (*model.graph.input, *model.graph.output):
            element = tensor.type.tensor_type.elem_type
            tensor.CopyFrom(declared(tensor.name, element, [name, *shapes[tensor.name]]))

    assert Artifact.read(write_graph(path, rename)).metadata.name == "tiny"


# Self-test vectors


def test_enlarging_repeats_pixels() -> None:
    """Two pixels at five places: floor(i * 2 / 5) is 0, 0, 0, 1, 1; one row at two places is the same row twice."""
    small_HWC = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    large_HWC = enlarge(small_HWC, 2, 5)
    assert large_HWC[:, :, 0].tolist() == [[1, 1, 1, 4, 4]] * 2
    assert large_HWC[1, 3].tolist() == [4, 5, 6]
    assert large_HWC.dtype == np.uint8
    assert large_HWC.flags.c_contiguous


def test_enlarging_to_less_takes_every_so_many_pixels() -> None:
    """floor(i * 4 / 2) is 0, 2."""
    small_HWC = np.arange(12, dtype=np.uint8).reshape(1, 4, 3)
    assert enlarge(small_HWC, 1, 2).tolist() == [[[0, 1, 2], [6, 7, 8]]]


def test_self_test_vector_survives_json() -> None:
    small_HWC = np.random.default_rng(0).integers(0, 256, (3, 4, 3), np.uint8)
    vector = SelfTestVector.of(small_HWC, np.array([0.12345678, 1.0], np.float32), tolerance=1e-3)
    again = SelfTestVector.model_validate_json(vector.model_dump_json())
    assert again == vector
    assert (again.height, again.width, again.probabilities) == (3, 4, (0.123457, 1.0))
    assert base64.b64decode(again.pixels) == small_HWC.tobytes()
    np.testing.assert_array_equal(again.frame(3, 4), small_HWC)
    np.testing.assert_array_equal(again.frame(6, 8), small_HWC.repeat(2, axis=0).repeat(2, axis=1))


def test_self_test_vector_of_a_slice_holds_its_pixels() -> None:
    """A view whose memory has gaps and another order."""
    large_HWC = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    view_HWC = large_HWC[::2, ::-2, ::-1]
    vector = SelfTestVector.of(view_HWC, np.array([0.5], np.float32), tolerance=1e-3)
    np.testing.assert_array_equal(vector.frame(3, 4), view_HWC)


def test_file_of_schema_1_is_read_and_its_thresholds_were_the_best_f1(path: Path) -> None:
    """Files written before thresholds had a rule."""
    document = tiny_metadata().model_dump(mode="json")
    labels = [{name: value for name, value in label.items() if name != "rule"} for label in document["labels"]]
    write_tiny_model(path, metadata_json=json.dumps({**document, "schema_version": 1, "labels": labels}))
    metadata = Artifact.read(path).metadata
    assert metadata.schema_version == 1
    assert [label.rule.metric for label in metadata.labels] == ["f1", "f1"]


@pytest.mark.parametrize("rule", [{"metric": "f1", "at_least": 0.5}, {"metric": "recall"}, {"metric": "accuracy"}])
def test_rule_of_a_threshold_that_says_nothing_is_refused(path: Path, rule: dict[str, object]) -> None:
    """The best F1 has no aim, precision and recall need one."""
    document = tiny_metadata().model_dump(mode="json")
    document["labels"][0]["rule"] = rule
    write_tiny_model(path, metadata_json=json.dumps(document))
    with pytest.raises(ModelFileError, match=r"labels\.0\.rule"):
        Artifact.read(path)
