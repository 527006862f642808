import numpy as np

from model_training.held_out import HeldOut
from model_training.teacher.soft_targets import SoftTargets
from tests.model_training.tables import table_of

NAN = np.nan


def test_known_entries_count_one_and_unknown_ones_as_much_as_the_teacher_is_reliable():
    table = table_of([[1, 0], [-1, -1]], ("car", "stop_sign"))
    soft = SoftTargets(np.array([[NAN, NAN], [0.3, NAN]], np.float32), ({}, {}), np.array([0.5, 0.25], np.float32))
    held_out = HeldOut.of(table, soft)
    assert held_out.targets_NL.round(6).tolist() == [[1, 0], [0.3, 0]]
    assert held_out.weights_NL.tolist() == [[1, 1], [0.5, 0]]


def test_without_a_teacher_only_what_is_known_counts():
    assert HeldOut.of(table_of([[1, -1], [0, 1]])).weights_NL.tolist() == [[1, 0], [1, 1]]
