"""The exported file says and computes what the network does."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from model_training.calibration import IDENTITY
from model_training.dataset import EvaluationFrames
from model_training.errors import ParityError
from model_training.label_table import LabelTable
from model_training.network import PresenceNetwork
from model_training.onnx_export import Identity, ServedNetwork, describe, export, with_figures, write
from model_training.parity import answers_alike, verify
from model_training.tracking import Item
from model_training.trainer import Trainer
from model_training.training_rows import TrainingRows
from model_training.variants.half_precision import halved
from service.errors import SelfTestFailed
from service.inference.artifact import (
    EVIDENCE,
    METADATA_KEY,
    Artifact,
    Calibration,
    Figure,
    ModelMetadata,
    ThresholdRule,
    enlarge,
)
from service.inference.session import ModelSession
from tests.model_training.painted_frames import LABELS, write_painted_frames
from tests.model_training.test_trainer import CONFIGURATION as SMALL
from tests.model_training.test_trainer import painted_rows

CONFIGURATION = SMALL.model_copy(update={"epochs": 12, "patience": 12})
CALIBRATION = {"red": Calibration(temperature=2.0, bias=0.5), "green": Calibration(temperature=0.5, bias=-1.0)}
THRESHOLDS = {"red": 0.4, "green": 0.6}
RULES = {"red": ThresholdRule(metric="recall", at_least=0.9), "green": ThresholdRule()}
FIGURE = Figure(test_set="t", label="red", metric="average_precision", value=1, low=1, high=1, n=3, positives=2)


def random_network(seed: int = 0) -> PresenceNetwork:
    torch.manual_seed(seed)
    return PresenceNetwork(CONFIGURATION.network, len(LABELS)).eval()


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> TrainingRows:
    return painted_rows(write_painted_frames(tmp_path_factory.mktemp("export") / "data"))


@pytest.fixture(scope="module")
def table(rows: TrainingRows) -> LabelTable:
    return rows.table


@pytest.fixture(scope="module")
def served(rows: TrainingRows, tmp_path_factory: pytest.TempPathFactory) -> ServedNetwork:
    """A network that has learned something, so that its answers differ from frame to frame."""
    trainer = Trainer(CONFIGURATION, rows, tmp_path_factory.mktemp("trained"), torch.device("cpu"))
    trainer.fit()
    network = random_network()
    network.load_state_dict(trainer.average.module.state_dict())
    return ServedNetwork(network, LABELS, CALIBRATION)


@pytest.fixture(scope="module")
def metadata(served: ServedNetwork, table: LabelTable) -> ModelMetadata:
    return describe(served, CONFIGURATION, table, THRESHOLDS, Identity("painted", "1.2.3", "CC-BY-4.0"), RULES)


@pytest.fixture(scope="module")
def exported(served: ServedNetwork, metadata: ModelMetadata, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "painted.onnx"
    export(served, metadata, path)
    return path


def test_file_computes_calibrated_probabilities_of_the_network(
    served: ServedNetwork, exported: Path, table: LabelTable
) -> None:
    """sigmoid(logit / temperature + bias), computed here from the network's logits in float64."""
    frames = EvaluationFrames(table.images[:8], 64, 96)
    frames_BHWC = np.stack([frames[row] for row in range(8)])
    seen = ModelSession(Artifact.read(exported), "cpu").run(frames_BHWC)
    with torch.inference_mode():
        output = served.network(torch.from_numpy(frames_BHWC))
    logits_BL = output.logits_BL.double().numpy()
    expected_BL = 1 / (1 + np.exp(-(logits_BL / [2.0, 0.5] + [0.5, -1.0])))
    assert np.abs(seen.probabilities_BL - expected_BL).max() < 1e-4
    assert np.ptp(seen.probabilities_BL, axis=0).max() > 0.1
    expected_evidence = 1 / (1 + np.exp(-output.evidence_BLhw.double().numpy()))
    assert seen.evidence_BLhw.shape == (8, 2, 8, 12)
    assert np.abs(seen.evidence_BLhw - expected_evidence).max() < 1e-4


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_batch_axis_is_dynamic_and_batch_mates_do_not_matter(exported: Path, batch: int) -> None:
    """A frame's answer is the same alone and in company."""
    frames_BHWC = np.random.default_rng(2).integers(0, 256, (batch, 64, 96, 3), np.uint8)
    session = ModelSession(Artifact.read(exported), "cpu")
    together = session.run(frames_BHWC).probabilities_BL
    alone = np.concatenate([session.run(frame[np.newaxis]).probabilities_BL for frame in frames_BHWC])
    assert np.allclose(together, alone, atol=1e-5)


def test_metadata_says_everything_a_consumer_needs(exported: Path, table: LabelTable) -> None:
    """Read back from the file as the service reads it."""
    told = Artifact.read(exported).metadata
    assert (told.name, told.version, told.licence, told.precision) == ("painted", "1.2.3", "CC-BY-4.0", "float32")
    assert [(label.key, label.threshold) for label in told.labels] == [("red", 0.4), ("green", 0.6)]
    assert [label.rule for label in told.labels] == [ThresholdRule(metric="recall", at_least=0.9), ThresholdRule()]
    assert (told.input.height, told.input.width, told.input.resize) == (64, 96, "stretch")
    assert told.evidence_grid == (8, 12)
    assert told.calibration == CALIBRATION
    assert told.training_data.hash == table.content_hash()
    assert (told.training_data.frames, told.training_data.licences) == (len(table), ("CC0-1.0",))
    assert re.fullmatch("[0-9a-f]{40}(-dirty)?|unknown", told.git_revision)


def test_self_test_vectors_move_the_answers_and_reproduce(exported: Path) -> None:
    """A vector on which every model says the same would prove nothing."""
    artifact = Artifact.read(exported)
    vectors = artifact.metadata.self_test
    assert len(vectors) == 4
    assert np.ptp([vector.probabilities for vector in vectors], axis=0).max() > 10 * vectors[0].tolerance
    ModelSession(artifact, "cpu").check_self_test()


def test_figures_are_added_without_touching_the_graph(exported: Path, metadata: ModelMetadata, tmp_path: Path) -> None:
    """The file proves itself before it is measured; the figures come after."""
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(exported.read_bytes())
    with_figures(copy, (FIGURE,), metadata)
    assert Artifact.read(copy).metadata == metadata.model_copy(update={"figures": (FIGURE,)})
    assert onnx.load(copy).graph == onnx.load(exported).graph


def test_verify_measures_the_difference_on_real_frames(
    served: ServedNetwork, exported: Path, table: LabelTable
) -> None:
    """On every frame it is given, under 1e-4."""
    asked: list[tuple[str, int | None]] = []

    def tracking(items: Iterable[Item], description: str, total: int | None) -> Iterable[Item]:
        asked.append((description, total))
        return items

    parity = verify(served, exported, table.images, tracking)
    assert asked == [("comparing file and network", len(table))]
    assert parity.frames == len(table) > 10
    assert 0 <= parity.probabilities < 1e-4


def test_verify_fails_loudly_for_another_network(exported: Path, table: LabelTable) -> None:
    """The message names the file, the difference and the worst frame."""
    other = ServedNetwork(random_network(seed=1), LABELS, CALIBRATION)
    with pytest.raises(ParityError, match=r"painted\.onnx: probabilities differ .* allowed is 1e-04"):
        verify(other, exported, table.images)


def test_file_of_any_precision_answers_like_the_network_that_it_was_made_of_and_like_no_other(
    served: ServedNetwork, metadata: ModelMetadata, exported: Path, table: LabelTable, tmp_path: Path
) -> None:
    half = tmp_path / "painted.float16.onnx"
    write(halved(onnx.load(exported)), metadata.model_copy(update={"precision": "float16"}), half)
    other = ServedNetwork(random_network(seed=9), LABELS, CALIBRATION)
    for path in (exported, half):
        assert answers_alike(served, Artifact.read(path), table.images[:8])
        assert not answers_alike(other, Artifact.read(path), table.images[:8])


def test_verify_fails_loudly_for_one_nudged_weight(
    served: ServedNetwork, exported: Path, metadata: ModelMetadata, table: LabelTable, tmp_path: Path
) -> None:
    """A last bias moved by 0.01 is found, by the frames or already by the self-test."""
    model = onnx.load(exported)
    bias = next(weight for weight in model.graph.initializer if weight.name.endswith("local_logits.bias"))
    nudged = onnx.numpy_helper.to_array(bias) + np.float32(0.01)
    bias.CopyFrom(onnx.numpy_helper.from_array(nudged, bias.name))
    write(model, metadata, tmp_path / "nudged.onnx")
    with pytest.raises((ParityError, SelfTestFailed)):
        verify(served, tmp_path / "nudged.onnx", table.images)


def test_verify_fails_for_evidence_that_is_not_the_network_s(
    served: ServedNetwork, exported: Path, metadata: ModelMetadata, table: LabelTable, tmp_path: Path
) -> None:
    """The self-test holds probabilities; a file with right ones and other maps would show the wrong place."""
    model = onnx.load(exported)
    (maker,) = [node for node in model.graph.node if EVIDENCE in node.output]
    maker.output[list(maker.output).index(EVIDENCE)] = "true_evidence"
    model.graph.node.append(onnx.helper.make_node("Sqrt", ["true_evidence"], [EVIDENCE]))
    write(model, metadata, tmp_path / "other.onnx")
    with pytest.raises(ParityError, match=r"other\.onnx: evidence differs from the network's by .* allowed is 1e-04"):
        verify(served, tmp_path / "other.onnx", table.images)


def test_verify_checks_the_self_test_vectors(
    served: ServedNetwork, exported: Path, metadata: ModelMetadata, table: LabelTable, tmp_path: Path
) -> None:
    """A file whose vectors belong to another model is refused although its graph is right."""
    wrong = [vector.model_copy(update={"probabilities": (0.123, 0.456)}) for vector in metadata.self_test]
    write(onnx.load(exported), metadata.model_copy(update={"self_test": tuple(wrong)}), tmp_path / "wrong.onnx")
    with pytest.raises(SelfTestFailed, match="self-test 1 of 4 is off"):
        verify(served, tmp_path / "wrong.onnx", table.images)


def test_verify_without_frames_proves_nothing_and_says_so(served: ServedNetwork, exported: Path) -> None:
    """An empty list is not a success."""
    with pytest.raises(ParityError, match="no frames"):
        verify(served, exported, [])


def test_verify_holds_no_variant_to_the_network(
    served: ServedNetwork, exported: Path, metadata: ModelMetadata, table: LabelTable, tmp_path: Path
) -> None:
    """Its answers differ by more than the order of a sum, and that is no fault to export it again for."""
    write(onnx.load(exported), metadata.model_copy(update={"precision": "int8"}), tmp_path / "painted.int8.onnx")
    with pytest.raises(ParityError, match=r"painted\.int8\.onnx is int8; only a float32 file"):
        verify(served, tmp_path / "painted.int8.onnx", table.images)


def test_metadata_is_one_json_document_under_one_key(exported: Path) -> None:
    """So that other tools find it without our code."""
    properties = {entry.key: entry.value for entry in onnx.load(exported).metadata_props}
    assert list(properties) == [METADATA_KEY]
    assert json.loads(properties[METADATA_KEY])["schema_version"] == 2


def test_identity_calibration_leaves_the_logits() -> None:
    """Temperature 1 and bias 0."""
    network = random_network()
    frames_BHWC = torch.from_numpy(enlarge(np.full((2, 2, 3), 77, np.uint8), 64, 96))[None]
    with torch.inference_mode():
        probabilities_BL, _ = ServedNetwork(network, LABELS, dict.fromkeys(LABELS, IDENTITY))(frames_BHWC)
        assert torch.allclose(probabilities_BL, torch.sigmoid(network(frames_BHWC).logits_BL))
