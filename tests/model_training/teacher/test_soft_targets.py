import numpy as np
import pytest

from model_training.teacher.file import Hint, TeacherScores
from model_training.teacher.soft_targets import SoftTargets, estimated_prevalence, soft_targets
from tests.model_training.tables import table_of

NAN = np.nan


def soft_of(entries, scores, fit_rows=None):
    table = table_of([[entry] for entry in entries], labels=("car",))
    teacher = TeacherScores(np.array(scores, np.float32)[:, None], ({},) * len(entries))
    return soft_targets(table, teacher, range(len(entries)) if fit_rows is None else fit_rows).probabilities_NL[:, 0]


def test_teacher_never_speaks_where_an_entry_is_known():
    soft = soft_of([1, 0, -1, 1, 0], [0.9, 0.1, 0.5, 0.01, 0.99])
    assert np.isnan(soft).tolist() == [True, True, False, True, True]


def test_teacher_that_says_nothing_gives_no_target():
    assert np.isnan(soft_of([1, 0, -1, -1], [0.9, 0.1, NAN, 0.5])).tolist() == [True, True, True, False]


HALF_AND_HALF = ([1] * 3 + [0]) * 250 + ([0] * 3 + [1]) * 250
"""Entries of 1,000 frames that score 0.2, three in four of them present, and of 1,000 that score 0.02, one in four."""
SCORES = [0.2] * 1000 + [0.02] * 1000


def test_scores_are_recalibrated_to_the_frequency_of_labels():
    """Where a score of 0.2 means present in 3 of 4 frames and unlabelled ones seem no different, it is 0.75."""
    soft = soft_of([*HALF_AND_HALF, -1, -1], [*SCORES, 0.2, 0.02])
    assert soft[-2:] == pytest.approx([0.75, 0.25], abs=0.02)


def test_collecting_frames_for_being_full_of_a_label_does_not_make_it_likelier_elsewhere():
    """Nine times the positives: the ratio of likelihoods at a score of 0.2 stays 3, and so does what it says."""
    present, absent = np.array(HALF_AND_HALF) == 1, np.array(HALF_AND_HALF) == 0
    entries = [1] * 9 * present.sum() + [0] * absent.sum()
    scores = list(np.repeat(np.array(SCORES)[present], 9)) + list(np.array(SCORES)[absent])
    soft = soft_of([*entries, -1, -1], [*scores, 0.2, 0.02])
    assert soft[-2:] == pytest.approx([0.75, 0.25], abs=0.02)


def test_labels_are_rarer_where_unlabelled_frames_look_emptier():
    """All unlabelled frames that the fit sees score low, so a low score says less for a label."""
    soft = soft_of([*HALF_AND_HALF, *[-1] * 500], [*SCORES, *[0.02] * 500], fit_rows=range(2400))
    assert soft[-1] < 0.02


def test_prevalence_is_what_makes_the_evidence_likeliest():
    """60 frames of likelihood ratio 9 and 40 of 1/9: solving 0.6 * 0.8 / (0.1 + 0.8 x) = 0.4 * 0.8 / (0.9 - 0.8 x)."""
    assert estimated_prevalence(np.array([0.9] * 60 + [0.1] * 40)) == pytest.approx(0.5 / 0.8, abs=1e-4)


def test_prevalence_of_no_frames_is_one_half():
    assert estimated_prevalence(np.array([])) == 0.5


def reliability_of(entries, scores):
    table = table_of([[entry] for entry in entries], labels=("car",))
    teacher = TeacherScores(np.array(scores, np.float32)[:, None], ({},) * len(entries))
    return soft_targets(table, teacher, range(len(entries))).reliability_L[0]


def test_reliability_is_the_share_of_the_uncertainty_that_the_teacher_removes():
    """A teacher right in 3 of 4 leaves 0.8113 of one bit: the entropy of a coin that falls on one side in 3 of 4."""
    assert reliability_of(HALF_AND_HALF, SCORES) == pytest.approx(1 - 0.8113, abs=1e-3)


def test_teacher_that_tosses_a_coin_is_not_reliable():
    assert reliability_of([1, 0] * 50, [0.3, 0.3, 0.7, 0.7] * 25) == pytest.approx(0, abs=1e-6)


def test_higher_scores_give_higher_targets_within_zero_and_one():
    soft = soft_of([1, 1, 0, 0, -1, -1, -1, -1], [0.8, 0.6, 0.3, 0.1, 0.0, 0.2, 0.7, 1.0])[4:]
    assert (np.diff(soft) > 0).all()
    assert 0 < soft[0] < 0.5 < soft[-1] < 1


def test_rows_outside_the_fit_change_nothing():
    """Labels of held-out and test rows must not leak into the targets of train rows."""
    scores = [0.9, 0.6, 0.4, 0.1, 0.5, 0.3, 0.7, 0.2]
    first = soft_of([1, 1, 0, 0, -1, -1, 1, 0], scores, fit_rows=[0, 1, 2, 3, 4])
    second = soft_of([1, 1, 0, 0, -1, -1, 0, 1], scores, fit_rows=[0, 1, 2, 3, 4])
    assert first[[4, 5]].tolist() == second[[4, 5]].tolist()
    third = soft_of([0, 1, 1, 0, -1, -1, 0, 1], scores, fit_rows=[0, 1, 2, 3, 4])
    assert first[[4, 5]].tolist() != third[[4, 5]].tolist()


@pytest.mark.parametrize("known", [[1, 1], [0, 0], [-1, -1]])
def test_label_with_one_kind_of_entries_gets_no_targets(known):
    assert np.isnan(soft_of([*known, -1, 1, 0], [0.9, 0.1, 0.5, 0.9, 0.1], fit_rows=[0, 1, 2])).all()


def test_known_entries_without_a_score_do_not_count_as_evidence():
    assert np.isnan(soft_of([1, 0, -1], [0.9, NAN, 0.5])).all()


def test_table_without_a_teacher_has_no_targets():
    table = table_of([[1, -1], [-1, 0]])
    assert np.isnan(SoftTargets.none(table).probabilities_NL).tolist() == [[True, True], [True, True]]


def test_rows_of_targets_are_chosen_by_number():
    targets = SoftTargets(np.array([[0.1], [0.2], [0.3]], np.float32), ({}, {}, {}), np.ones(1, np.float32))
    assert targets.rows(np.array([2, 0])).probabilities_NL[:, 0] == pytest.approx([0.3, 0.1])


def test_boxes_are_hints_where_a_label_is_unknown_or_present_without_boxes():
    """Not where somebody says absent, and not where the frame has boxes of its own."""
    entries = [[1], [1], [0], [-1]] + [[1], [0]] * 100
    own = ({"car": ((0.0, 0.0, 1.0, 1.0),)},) + ({},) * 203
    table = table_of(entries, labels=("car",), boxes=own)
    suggested = {"car": (Hint((0.1, 0.1, 0.2, 0.2), 0.9),)}
    scores_NL = np.array([[0.9]] * 4 + [[0.9], [0.1]] * 100, np.float32)
    soft = soft_targets(table, TeacherScores(scores_NL, (suggested,) * 204), range(4, 204))
    assert [bool(hints) for hints in soft.hints[:4]] == [False, True, False, True]
    assert soft.hints[3]["car"][0].probability == pytest.approx(float(soft.probabilities_NL[3, 0]), abs=1e-6)
