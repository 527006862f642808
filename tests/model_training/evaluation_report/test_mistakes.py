import numpy as np

from model_training.evaluation_report.mistakes import worst_mistakes
from tests.model_training.tables import table_of


def found(entries, probabilities, most=2, rows=None, **columns):
    table = table_of(entries, ("car", "stop_sign")[: len(entries[0])], **columns)
    chosen = range(len(entries)) if rows is None else rows
    thresholds = {"car": 0.5, "stop_sign": 0.5}
    said = worst_mistakes(table, np.array(probabilities), thresholds, chosen, most)
    return [(one.label, one.row, one.said, one.is_decided_wrong) for one in said]


def test_least_probable_present_and_most_probable_absent_come_first():
    entries = [[1], [1], [1], [0], [0], [0]]
    assert found(entries, [[0.9], [0.1], [0.6], [0.2], [0.7], [0.8]]) == [
        ("car", 1, "present", True),
        ("car", 2, "present", False),
        ("car", 5, "absent", True),
        ("car", 4, "absent", True),
    ]


def test_unknown_entries_and_rows_that_were_not_asked_for_are_left_out():
    assert found([[-1], [1], [1]], [[0.0], [0.2], [0.1]], rows=[0, 1]) == [("car", 1, "present", True)]


def test_a_scene_shows_its_worst_frame_only():
    entries, groups = [[0], [0], [0]], ("one", "one", "two")
    assert [row for _, row, _, _ in found(entries, [[0.8], [0.9], [0.3]], groups=groups)] == [1, 2]


def test_each_label_has_its_own():
    said = found([[1, 0], [0, 1]], [[0.3, 0.2], [0.1, 0.4]])
    assert said == [
        ("car", 0, "present", True),
        ("car", 1, "absent", False),
        ("stop_sign", 1, "present", True),
        ("stop_sign", 0, "absent", False),
    ]
