import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from model_training.calibration import IDENTITY, calibrate, calibrated
from model_training.held_out import HeldOut
from service.inference.artifact import Calibration
from tests.model_training.tables import table_of


def calibration_of(entries, logits):
    table = table_of([[int(entry)] for entry in entries], labels=("car",))
    return calibrate(HeldOut.of(table), np.asarray(logits, np.float32)[:, None])["car"]


def planted(temperature, bias, count=20_000):
    """Entries whose frequency is sigmoid(logit / temperature + bias)."""
    random = np.random.default_rng(3)
    logits = random.normal(0, 4, count)
    return random.random(count) < expit(logits / temperature + bias), logits


@pytest.mark.parametrize(("temperature", "bias"), [(1, 0), (2.5, 0.7), (0.6, -1.2)])
def test_planted_temperature_and_bias_are_recovered(temperature, bias):
    found = calibration_of(*planted(temperature, bias))
    assert found.temperature == pytest.approx(temperature, rel=0.06)
    assert found.bias == pytest.approx(bias, abs=0.1)


def test_fit_is_the_logistic_regression_of_scikit_learn():
    """With thousands of frames the pull to the identity is nothing, and the likeliest line is one and the same."""
    entries, logits = planted(1.7, 0.4)
    line = LogisticRegression(C=np.inf).fit(logits[:, None], entries)
    found = calibration_of(entries, logits)
    assert 1 / found.temperature == pytest.approx(line.coef_[0, 0], rel=2e-3)
    assert found.bias == pytest.approx(line.intercept_[0], abs=2e-3)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(-30, 30, width=32)), min_size=2, max_size=20))
def test_known_entries_are_never_less_likely_than_before(rows):
    entries, logits = (np.array(column) for column in zip(*rows, strict=True))
    found = calibration_of(entries, logits)
    before, after = (
        log_loss(entries, calibrated(logits[:, None], ("car",), {"car": one})[:, 0], labels=[False, True])
        for one in (IDENTITY, found)
    )
    assert after <= before + 1e-4


@pytest.mark.parametrize("entries", [[1, 1, 1], [0, 0, 0], [-1, -1, -1], [1, -1, -1]])
def test_label_of_one_kind_keeps_its_logits(entries):
    assert calibration_of(entries, [3.0, 1.0, -2.0]) == IDENTITY


def test_unknown_entries_do_not_move_a_calibration():
    logits = [2.0, 1.0, 0.5, -1.0, -2.0]
    known = calibration_of([1, 0, 1, 0, 0], logits)
    assert calibration_of([1, 0, 1, 0, 0, -1, -1], [*logits, 40.0, -40.0]) == known


def test_perfectly_separated_entries_keep_a_finite_calibration():
    found = calibration_of([1, 1, 0, 0], [900.0, 20.0, -20.0, -900.0])
    assert 0 < found.temperature < 10
    assert abs(found.bias) < 1


def test_calibrated_probability_by_hand():
    calibration = {"car": Calibration(temperature=2.0, bias=0.5), "stop_sign": IDENTITY}
    found = calibrated(np.array([[1.0, -1.0]], np.float32), ("stop_sign", "car"), calibration)
    # stop_sign keeps its logit 1; car's is -1 / 2 + 0.5 = 0.
    assert found == pytest.approx(np.array([[1 / (1 + np.exp(-1)), 0.5]]))


def test_unlabelled_entries_count_as_much_as_their_teacher_is_reliable():
    """As in a logistic regression in which each frame is there twice, present and absent, weighed by how likely.

    The reliable half of the frames says one thing and the other half another, so that the weights matter.
    """
    logits = np.random.default_rng(5).normal(0, 2, 5000)
    reliable = np.arange(5000) % 2 == 0
    targets = np.where(reliable, expit(logits / 2), expit(3 - logits))
    weights = np.where(reliable, 1.0, 0.1)
    found = calibrate(HeldOut(("car",), targets[:, None], weights[:, None]), logits[:, None])["car"]
    kinds, counts = np.repeat([1, 0], 5000), np.concatenate([weights * targets, weights * (1 - targets)])
    line = LogisticRegression(C=np.inf).fit(np.tile(logits, 2)[:, None], kinds, counts)
    assert 1 / found.temperature == pytest.approx(line.coef_[0, 0], abs=2e-3)
    assert found.bias == pytest.approx(line.intercept_[0], abs=2e-3)
