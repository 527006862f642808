import numpy as np

from model_training.evaluation_report.label_errors import suspects
from tests.model_training.tables import table_of


def found(entries, probabilities):
    table = table_of([[entry] for entry in entries], ("car",))
    return suspects(table, np.array(probabilities)[:, np.newaxis])


def test_an_entry_is_suspected_when_the_opposite_is_as_probable_as_for_the_opposites_own():
    """Present ones have a mean of (0.9 + 0.8 + 0.85 + 0.05) / 4 = 0.65, absent ones of 0.75 the other way.

    0.9 on an absent frame is above 0.65; 1 - 0.05 on a present one above 0.75; 0.6 on an absent one is not enough.
    """
    said = found([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], [0.9, 0.8, 0.85, 0.05, 0.9, 0.6, 0, 0, 0, 0])
    assert [(one.row, one.said, one.probability, one.trust) for one in said] == [
        (3, "present", 0.05, 0.05),
        (4, "absent", 0.9, 0.1),
    ]


def test_the_least_trusted_come_first():
    """Absent ones have 0.75 the other way on average; 0.8 and 0.9 are above."""
    said = found([1, 1, 1, 1, 1, 0, 0, 0], [0.9, 0.9, 0.9, 0.2, 0.1, 0.25, 0.25, 0.25])
    assert [one.row for one in said] == [4, 3]


def test_unknown_entries_are_never_suspected():
    """However sure the network is; rows count from the start of the table."""
    said = found([-1, -1, 1, 1, 0, 0, 0], [0.99, 0.01, 0.9, 0.01, 0.1, 0.1, 0.1])
    assert [one.row for one in said] == [3]


def test_entries_of_one_kind_tell_nothing():
    assert found([1, 1, -1], [0.9, 0.01, 0.5]) == []


def test_right_entries_are_not_suspected():
    assert found([1, 1, 0, 0], [0.9, 0.8, 0.1, 0.2]) == []
