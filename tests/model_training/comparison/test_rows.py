"""Every network of a seed is measured on the same rows and sees as many frames, all of which tell it something."""

import numpy as np
import pytest

from model_training.comparison.plan import Cell, planned
from model_training.comparison.rows import (
    SeedRows,
    data_digest,
    drawn_rows,
    frames_per_network,
    labels_only,
    nested_shares,
)
from model_training.configuration import TrainingConfiguration
from model_training.errors import InvalidConfiguration
from tests.model_training.tables import table_of

LABELS = ("a", "b")
CONFIGURATION = TrainingConfiguration(
    labels=LABELS, epochs=3, batch_size=10, validation=0.15, calibration=0.1, source_exponent=0.5
)
# 200 frames in 100 scenes; a is known everywhere, b in every fourth scene; 20 more are test rows.
TABLE = table_of(
    [[row % 2, row // 8 % 2 if row // 2 % 4 == 0 else -1] for row in range(220)],
    LABELS,
    boxes=[{"a": ((0.0, 0.0, 0.5, 0.5),)} if row % 2 else {} for row in range(220)],
    groups=[f"scene{row // 2}" for row in range(220)],
    sources=["big" if row % 16 > 1 else "small" for row in range(220)],
    splits=["train" if row < 200 else "test" for row in range(220)],
)
PLAN = planned(CONFIGURATION, 2, (0.25, 0.5, 1.0), None, ("same_entries", "averaged"), {})


@pytest.fixture(scope="module")
def rows():
    return SeedRows.of(PLAN, TABLE, 1)


def scenes(numbers):
    return {TABLE.groups[row] for row in numbers}


def test_held_out_scenes_are_in_no_network_s_train_rows_and_test_scenes_nowhere(rows):
    tested = scenes(range(200, 220))
    for cell in PLAN.cells():
        if cell.seed == 1:
            assert not scenes(rows.of_cell(cell).train) & (scenes(rows.held_out) | tested)
    assert not scenes(rows.held_out) & tested
    assert len(rows.held_out) == pytest.approx(0.25 * 200, abs=6)


def test_each_share_of_the_scenes_holds_the_one_before(rows):
    quarter, half, whole = (set(rows.train_by_fraction[fraction]) for fraction in (0.25, 0.5, 1.0))
    assert quarter < half < whole
    assert whole == set(rows.assembled.train)
    assert len(scenes(quarter)) == pytest.approx(len(scenes(whole)) / 4, abs=4)
    assert len(scenes(half)) == pytest.approx(len(scenes(whole)) / 2, abs=4)
    assert not scenes(quarter) & scenes(whole - quarter)


def test_shares_that_end_below_one_leave_scenes_out():
    train = np.arange(200)
    shares = nested_shares(TABLE, train, (0.2, 0.6), seed=0)
    assert len(shares[0.2]) == pytest.approx(40, abs=6)
    assert len(shares[0.6]) == pytest.approx(120, abs=6)


def test_every_network_sees_the_same_number_of_frames_however_few_are_labelled(rows):
    """3 passes over 75 % of 200 usable frames are 450: 45 batches of 10."""
    assert frames_per_network(CONFIGURATION, TABLE) == 450
    seen = {len(rows.of_cell(cell).train) for cell in PLAN.cells() if cell.seed == 1 and cell.budget == "frames"}
    assert seen == {450}


def test_a_network_for_one_label_spends_nothing_on_frames_where_it_is_unknown(rows):
    drawn = rows.of_cell(Cell("t", 1.0, 1, ("b",)))
    assert drawn.table.labels == ("b",)
    assert drawn.table.known_NL[drawn.train].all()
    known = rows.assembled.train[TABLE.known_NL[rows.assembled.train, 1]]
    assert set(drawn.train) == set(known)


def test_with_the_same_entries_a_network_sees_as_many_known_entries_as_the_joint_one(rows):
    """Up to a whole batch; a is known everywhere, so there it is as many frames."""
    joint = rows.of_cell(Cell("t", 1.0, 1, LABELS))
    in_joint = joint.table.known_NL[joint.train].sum(axis=0)
    a, b = (rows.of_cell(Cell("t", 1.0, 1, (label,), "entries")) for label in LABELS)
    assert len(a.train) == in_joint[0] == 450
    assert abs(len(b.train) - in_joint[1]) <= 5
    assert len(b.train) < 200


def test_rows_are_drawn_by_the_recipe_s_rule_for_sources_pass_after_pass():
    """64 frames of one source and 4 of another, exponent 0.5: 8 to 2, of 68 draws a pass 54 and 14."""
    table = table_of([[1]] * 68, sources=["big"] * 64 + ["small"] * 4)
    one_pass = drawn_rows(table, np.arange(68), CONFIGURATION, seed=0, frames=68)
    assert np.sum(one_pass < 64) == 54
    assert sorted(np.bincount(one_pass)[64:]) == [3, 3, 4, 4]
    assert len(drawn_rows(table, np.arange(68), CONFIGURATION, seed=0, frames=200)) == 200


def test_whoever_learns_one_label_is_told_nothing_of_the_others():
    """Neither entries nor boxes, by which a crop is judged."""
    alone = labels_only(TABLE, ("b",))
    assert alone.entries_NL.tolist() == TABLE.entries_NL[:, 1:].tolist()
    assert not any(alone.boxes)
    assert any(labels_only(TABLE, ("a",)).boxes)


def test_members_of_an_average_draw_other_rows_in_another_order(rows):
    first, second = (rows.of_cell(Cell("t", 1.0, 1, LABELS, member=member)).train for member in (0, 1))
    assert len(first) == len(second)
    assert first.tolist() != second.tolist()


def test_a_seed_splits_anew(rows):
    assert set(SeedRows.of(PLAN, TABLE, 0).held_out) != set(rows.held_out)


def test_a_label_that_cannot_be_learned_is_named_before_anything_is_trained():
    """With the share in which it lacks a kind."""
    always = table_of([[row % 2, 1] for row in range(60)], LABELS)
    with pytest.raises(InvalidConfiguration, match=r"25% of the scenes, seed 0: b is present in .* and absent in 0"):
        SeedRows.of(PLAN, always, 0)


def test_data_of_other_scenes_is_other_data(tmp_path):
    """The same frames in other groups are split otherwise."""
    images = []
    for number in range(2):
        images.append(tmp_path / f"{number}.png")
        images[-1].write_bytes(bytes([number]))
    one, other = (table_of([[1], [0]], images=images, groups=groups) for groups in (("g", "h"), ("g", "g")))
    assert data_digest(one) == data_digest(table_of([[1], [0]], images=images, groups=("g", "h")))
    assert data_digest(one) != data_digest(other)


def test_data_with_other_boxes_is_other_data(tmp_path):
    """They are targets of the maps, and say which crops show an object."""
    image = tmp_path / "0.png"
    image.write_bytes(b"0")
    digests = {
        data_digest(table_of([[1]], ("a",), [image], boxes=({"a": ((0.0, 0.0, right, 1.0),)},))) for right in (0.5, 0.6)
    }
    assert len(digests) == 2
