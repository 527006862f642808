import json
import math

import numpy as np
import pytest
import torch

from model_training.configuration import NetworkConfiguration
from model_training.evaluation import figures, network_logits, session_probabilities
from model_training.network import PresenceNetwork
from service.inference.artifact import Artifact, Figure
from service.inference.session import ModelSession
from tests.model_training.images import write_image
from tests.model_training.tables import table_of
from tests.tiny_model import HEIGHT, WIDTH, write_tiny_model

THRESHOLDS = {"car": 0.5, "stop_sign": 0.25}


def measured(entries, probabilities, test_sets, resamples=50, **columns):
    """Figures by test set, label and metric."""
    table = table_of(entries, ("car", "stop_sign")[: len(entries[0])], **columns)
    found = figures(table, np.array(probabilities), THRESHOLDS, test_sets, resamples)
    return {(figure.test_set, figure.label, figure.metric): figure for figure in found}


def test_figures_of_a_tiny_table_by_hand():
    entries = [[1, 1], [0, 0], [1, -1], [-1, 0]]
    probabilities = [[0.9, 0.2], [0.8, 0.1], [0.4, 0.9], [0.1, 0.3]]
    found = measured(entries, probabilities, {"four": ("s",)})
    values = {(label, metric): figure.value for (_, label, metric), figure in found.items()}
    expected = {
        # 0.9 present, 0.8 absent, 0.4 present.
        ("car", "average_precision"): 0.5 * 1 + 0.5 * 2 / 3,
        ("car", "calibration_gap"): (0.9 + 0.8 + 0.4) / 3 - 2 / 3,
        # At 0.5: one hit, one false alarm, one miss.
        ("car", "f1_at_threshold"): 2 / 4,
        ("car", "brier_score"): (0.01 + 0.64 + 0.36) / 3,
        # Three frames are three bins.
        ("car", "expected_calibration_error"): (0.1 + 0.8 + 0.6) / 3,
        # 0.3 absent, 0.2 present, 0.1 absent.
        ("stop_sign", "average_precision"): 1 / 2,
        ("stop_sign", "calibration_gap"): (0.2 + 0.1 + 0.3) / 3 - 1 / 3,
        # At 0.25: a false alarm and a miss.
        ("stop_sign", "f1_at_threshold"): 0.0,
        ("stop_sign", "brier_score"): (0.64 + 0.01 + 0.09) / 3,
        ("stop_sign", "expected_calibration_error"): (0.8 + 0.1 + 0.3) / 3,
        ("mean", "average_precision"): (5 / 6 + 1 / 2) / 2,
    }
    assert values == pytest.approx(expected, abs=5e-5)
    assert {(f.n, f.positives) for (_, label, _), f in found.items() if label == "car"} == {(3, 2)}
    assert {(f.n, f.positives) for (_, label, _), f in found.items() if label == "stop_sign"} == {(3, 1)}
    mean = found["four", "mean", "average_precision"]
    assert (mean.n, mean.positives) == (6, 3)


def test_figures_count_the_scenes_whose_entries_are_known():
    """Of four scenes one knows nothing of cars, and another nothing at all."""
    entries = [[1, 0], [0, 1], [1, -1], [-1, 1], [-1, -1]]
    found = measured(entries, [[0.5, 0.5]] * 5, {"four": ("s",)}, groups=["a", "a", "b", "c", "d"])
    scenes = {label: figure.scenes for (_, label, _), figure in found.items()}
    assert scenes == {"car": 2, "stop_sign": 2, "mean": 3}


SETS = {"both": ("a", "b"), "b alone": ("b",)}


def test_test_set_holds_the_rows_of_all_its_sources():
    found = measured(
        [[1], [0], [1], [0], [1]], [[0.9], [0.1], [0.2], [0.8], [0.5]], SETS, sources=("a", "a", "b", "b", "c")
    )
    assert found["both", "car", "brier_score"].n == 4
    assert found["both", "car", "average_precision"].value == pytest.approx((1 + 2 / 3) / 2, abs=5e-5)
    assert found["b alone", "car", "average_precision"].value == pytest.approx(1 / 2)


def test_frame_that_several_sources_know_is_in_the_sets_of_each():
    columns = {"sources": ("a+b", "b", "a")}
    found = measured([[1], [0], [0]], [[0.9], [0.1], [0.1]], {**SETS, "merged": ("a+b",)}, **columns)
    counts = {test_set: figure.n for (test_set, label, metric), figure in found.items() if metric == "brier_score"}
    assert counts == {"both": 3, "b alone": 2}
    found = measured([[1], [0]], [[0.9], [0.1]], {"merged": ("a+b",)}, sources=("a+b", "a+b"))
    assert found["merged", "car", "brier_score"].n == 2


def test_label_with_one_kind_of_entries_is_left_out():
    found = measured([[1, 1], [0, 1], [1, -1]], [[0.9, 0.9], [0.1, 0.8], [0.8, 0.1]], {"set": ("s",)})
    assert {label for _, label, _ in found} == {"car", "mean"}
    assert found["set", "mean", "average_precision"].value == found["set", "car", "average_precision"].value
    assert found["set", "mean", "average_precision"].n == 3


def test_set_without_a_label_to_judge_has_no_figures():
    assert measured([[1], [1]], [[0.9], [0.1]], {"present": ("s",), "empty": ("other",)}) == {}


def test_frames_of_one_scene_are_resampled_together():
    """One scene in all: nothing to vary, so every interval is its value."""
    entries, probabilities = [[1, 1], [0, 0], [0, 1]], [[0.3, 0.9], [0.5, 0.8], [0.2, 0.7]]
    for figure in measured(entries, probabilities, {"set": ("s",)}, groups=("one",) * 3).values():
        assert figure.low == figure.value == figure.high


def test_mean_is_never_one_over_other_labels():
    """A draw of scenes without a stop sign says nothing on the mean; it would be that of cars alone."""
    entries = [[1, -1], [0, -1], [-1, 1], [-1, 0]]
    # Cars in perfect order, the stop sign second of two: the mean is 0.75 wherever both can be judged.
    probabilities = [[0.9, 0], [0.1, 0], [0, 0.2], [0, 0.6]]
    found = measured(entries, probabilities, {"set": ("s",)}, groups=("a", "a", "b", "b"), resamples=200)
    mean = found["set", "mean", "average_precision"]
    assert (mean.low, mean.value, mean.high) == (0.75, 0.75, 0.75)


def test_no_figure_is_ever_nan():
    """Also where no resample tells anything: then an interval is all that a metric can be."""
    found = measured([[1, 0], [0, 1]], [[0.1, 0.2], [0.2, 0.1]], {"set": ("s",)}, resamples=0)
    numbers = [number for figure in found.values() for number in (figure.value, figure.low, figure.high)]
    assert not any(map(math.isnan, numbers))
    ranges = {metric: (figure.low, figure.high) for (_, _, metric), figure in found.items()}
    assert ranges.pop("calibration_gap") == (-1.0, 1.0)
    assert set(ranges.values()) == {(0.0, 1.0)}
    for figure in found.values():
        assert Figure.model_validate(json.loads(figure.model_dump_json())) == figure


def test_average_precision_intervals_hold_their_value():
    random = np.random.default_rng(0)
    entries = random.integers(0, 2, (60, 2))
    probabilities = np.clip(0.5 * entries + 0.6 * random.random((60, 2)), 0, 1)
    for (_, _, metric), figure in measured(entries, probabilities, {"set": ("s",)}, resamples=200).items():
        if metric not in ("expected_calibration_error", "calibration_gap"):
            assert 0 <= figure.low <= figure.value <= figure.high <= 1


def test_session_probabilities_are_what_the_file_answers_for_each_image(tmp_path):
    """The tiny model answers the mean of red and of green; images of other sizes are resized first."""
    sizes = [(WIDTH, HEIGHT), (48, 32), (5, 3)]
    images = [write_image(tmp_path / f"{row}.png", 100 * row, size) for row, size in enumerate(sizes)]
    session = ModelSession(Artifact.read(write_tiny_model(tmp_path / "tiny.onnx")), device="cpu")
    found = session_probabilities(session, images, (HEIGHT, WIDTH))
    assert found == pytest.approx(np.array([[0, 30], [100, 30], [200, 30]]) / 255, abs=1e-5)


def test_network_logits_are_those_of_each_frame_alone(tmp_path):
    """Batches change nothing, and the network is left in evaluation mode."""
    network = PresenceNetwork(NetworkConfiguration(trunk="test_efficientnet", pretrained="none", head_width=8), 2)
    images = [write_image(tmp_path / f"{row}.png", 12 * row, (40, 40)) for row in range(18)]
    together = network_logits(network.train(), images, (32, 32), torch.device("cpu"))
    assert not network.training
    assert (together.shape, together.dtype) == ((18, 2), np.float32)
    alone = [network_logits(network, [image], (32, 32), torch.device("cpu"))[0] for image in (images[0], images[17])]
    assert together[[0, 17]] == pytest.approx(np.array(alone), abs=1e-4)
