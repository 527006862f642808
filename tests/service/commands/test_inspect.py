"""roadcue inspect: the card of a file, and whether the file keeps its promise here."""

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service.cli import main, roadcue
from service.inference.artifact import Figure, Label, SelfTestVector, ThresholdRule
from tests.tiny_model import tiny_metadata, write_tiny_model


def inspect(*arguments: object) -> Result:
    return CliRunner().invoke(roadcue, ["inspect", *map(str, arguments)])


def test_a_pipe_gets_the_metadata_and_what_was_found_as_json(model: Path) -> None:
    result = inspect(model)
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert (told["bytes"], told["self_test_vectors"]) == (model.stat().st_size, 1)
    assert told["metadata"] == tiny_metadata().model_dump(mode="json", exclude={"self_test"})
    assert told["self_tests"][0] == {"provider": "CPUExecutionProvider", "reproduces": True, "problem": None}
    assert told["variants"] == []


def test_a_person_gets_tables(tmp_path: Path) -> None:
    labels = (
        Label(key="stop_sign", title="stop sign", threshold=0.25, rule=ThresholdRule(metric="recall", at_least=0.98)),
    )
    figure = Figure(
        test_set="four",
        label="stop_sign",
        metric="average_precision",
        value=0.5,
        low=0.25,
        high=0.75,
        n=12,
        positives=6,
    )
    metadata = tiny_metadata(("stop_sign",)).model_copy(update={"labels": labels, "figures": (figure,)})
    path = write_tiny_model(tmp_path / "one.onnx", ("stop_sign",), metadata_json=metadata.model_dump_json())
    told = inspect(path, "--format", "table").stdout
    for part in (
        "tiny 0.0.1, float32",
        "12 x 8 pixels",
        "recall at least 0.98",
        "CC0-1.0",
        "0.250 to 0.750",
        "reproduces",
    ):
        assert part in told


def test_variants_beside_the_file_are_tried_too(tmp_path: Path) -> None:
    """From the float32 file and from the variant."""
    path = write_tiny_model(tmp_path / "tiny.onnx")
    int8 = tiny_metadata().model_copy(update={"precision": "int8"}).model_dump_json()
    write_tiny_model(tmp_path / "tiny.int8.onnx", metadata_json=int8)
    (variant,) = json.loads(inspect(path).stdout)["variants"]
    assert (Path(variant["file"]).name, variant["precision"]) == ("tiny.int8.onnx", "int8")
    assert variant["self_test"]["reproduces"]
    (base,) = json.loads(inspect(tmp_path / "tiny.int8.onnx").stdout)["variants"]
    assert (Path(base["file"]).name, base["precision"]) == ("tiny.onnx", "float32")


def test_a_file_that_does_not_reproduce_its_self_test_is_shown_and_ends_with_code_1(tmp_path: Path) -> None:
    own = tiny_metadata().self_test[0]
    wrong = SelfTestVector(**{**own.model_dump(), "probabilities": (0.9, 0.9)})
    path = write_tiny_model(
        tmp_path / "off.onnx",
        metadata_json=tiny_metadata().model_copy(update={"self_test": (wrong,)}).model_dump_json(),
    )
    result = inspect(path)
    assert result.exit_code == 1
    assert json.loads(result.stdout)["self_tests"][0]["reproduces"] is False
    assert "self-test 1 of 1 is off by" in result.stderr
    assert "expected [0.9, 0.9]" in result.stderr


def test_a_damaged_variant_is_shown_and_ends_with_code_1(tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "tiny.onnx")
    (tmp_path / "tiny.int8.onnx").write_bytes(path.read_bytes()[:100])
    for form in ("json", "table"):
        result = inspect(path, "--format", form)
        assert result.exit_code == 1
        assert "tiny.int8.onnx (100 bytes) is not an ONNX model" in result.stderr


def test_a_file_that_is_not_there_is_a_wrong_argument(tmp_path: Path) -> None:
    """As for every other command."""
    with pytest.raises(SystemExit) as ended:
        main(["inspect", str(tmp_path / "absent.onnx")])
    assert ended.value.code == 2


@pytest.mark.parametrize("content", [b"", b"no model", bytes(1000)])
def test_a_foreign_file_is_one_line_and_code_1(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "foreign.onnx"
    path.write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        main(["inspect", str(path)])
    told = capsys.readouterr()
    assert (ended.value.code, told.out) == (1, "")
    assert told.err.startswith(f"Error: {path} ")
    assert len(told.err.splitlines()) == 1
