from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_training.errors import SplitError
from model_training.label_table import LabelTable, label_table
from model_training.sources import csv_table
from model_training.sources.problems import Problems
from model_training.splits import split_by_group

FRACTIONS = {"train": 0.8, "validation": 0.1, "calibration": 0.1}


def table_of(entries, groups=None, splits=None, sources=None):
    count = len(entries)
    return LabelTable(
        labels=tuple("abcdef"[: len(entries[0])]) if count else ("a",),
        entries_NL=np.array(entries, np.int8).reshape(count, -1 if count else 1),
        images=tuple(Path(f"{i}.jpg") for i in range(count)),
        boxes=({},) * count,
        sources=tuple(sources or ["s"] * count),
        groups=tuple(groups or [f"g{i}" for i in range(count)]),
        splits=tuple(splits or ["train"] * count),
        licences=("x",) * count,
    )


def test_each_row_outside_test_is_in_exactly_one_split():
    table = table_of([[i % 2] for i in range(40)], splits=["test", "train", "", "train"] * 10)
    split = split_by_group(table, FRACTIONS, seed=0)
    rows = np.concatenate(list(split.values()))
    assert sorted(rows) == [i for i in range(40) if i % 4]
    assert list(split) == list(FRACTIONS)
    assert all((np.diff(found) > 0).all() for found in split.values())


def test_row_whose_scene_is_in_test_is_in_no_split():
    table = table_of([[1]] * 6, groups=["x", "x", "a", "b", "c", "d"], splits=["test", *["train"] * 5])
    rows = np.concatenate(list(split_by_group(table, FRACTIONS, seed=0).values()))
    assert sorted(rows) == [2, 3, 4, 5]


def test_scarce_positives_are_spread_like_the_fractions():
    """10 positives among 1000 frames: 8, 1 and 1 of them."""
    table = table_of([[int(i < 10)] for i in range(1000)])
    split = split_by_group(table, FRACTIONS, seed=0)
    assert [int(table.entries_NL[rows].sum()) for rows in split.values()] == [8, 1, 1]
    assert [len(rows) for rows in split.values()] == [800, 100, 100]


def test_positives_and_negatives_of_every_label_are_spread_where_labels_overlap():
    """Counts of each kind are multiples of ten, so that the fractions can be met exactly; one frame off is allowed."""
    kinds = [([1, -1], 100), ([0, 1], 50), ([-1, 0], 200), ([1, 1], 20), ([0, 0], 30)]
    table = table_of([entries for entries, count in kinds for _ in range(count)])
    split = split_by_group(table, FRACTIONS, seed=3)
    for value in (0, 1):
        total_L = (table.entries_NL == value).sum(axis=0)
        for name, rows in split.items():
            found_L = (table.entries_NL[rows] == value).sum(axis=0)
            np.testing.assert_allclose(found_L, FRACTIONS[name] * total_L, atol=1.01)


def test_large_group_goes_where_it_fits():
    groups = ["film"] * 300 + [f"g{i}" for i in range(200)]
    split = split_by_group(table_of([[1]] * 500, groups), FRACTIONS, seed=0)
    assert [len(rows) for rows in split.values()] == [400, 50, 50]
    assert set(range(300)) <= set(split["train"].tolist())


def test_sources_are_spread_too_where_labels_allow():
    table = table_of([[1]] * 200, sources=["a"] * 100 + ["b"] * 100)
    split = split_by_group(table, FRACTIONS, seed=0)
    assert [int((rows < 100).sum()) for rows in split.values()] == [80, 10, 10]


def test_same_seed_splits_alike_and_another_seed_otherwise():
    table = table_of([[i % 2] for i in range(100)])
    first, again, other = (split_by_group(table, FRACTIONS, seed)["validation"].tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_every_split_gets_a_group_even_where_there_are_few():
    table = table_of([[1]] * 100, groups=["film"] * 98 + ["b", "c"])
    assert sorted(len(rows) for rows in split_by_group(table, FRACTIONS, seed=0).values()) == [1, 1, 98]


def test_fewer_groups_than_splits_are_refused():
    with pytest.raises(SplitError, match="2 groups outside test cannot fill the splits train, validation, calibration"):
        split_by_group(table_of([[1]] * 3, groups=["a", "a", "b"]), FRACTIONS, seed=0)


def test_table_without_rows_is_refused():
    with pytest.raises(SplitError, match="0 groups outside test"):
        split_by_group(table_of([]), FRACTIONS, seed=0)


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({}, "fractions are none"),
        ({"train": 1.0, "validation": 0.0}, "each must be above 0"),
        ({"train": float("nan")}, "each must be above 0"),
        ({"train": 0.8, "validation": 0.1}, "together they must be 1, not 0.9"),
    ],
)
def test_fractions_that_make_no_whole_are_refused(fractions, message):
    with pytest.raises(SplitError, match=message):
        split_by_group(table_of([[1]] * 9), fractions, seed=0)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from([-1, 0, 1]), st.booleans()), min_size=1, max_size=60),
    st.integers(0, 2**32 - 1),
)
def test_no_scene_is_ever_on_two_sides(rows, seed):
    groups = [f"g{group}" for group, _, _ in rows]
    splits = ["test" if test else "train" for _, _, test in rows]
    table = table_of([[entry] for _, entry, _ in rows], groups, splits)
    usable = set(groups) - {group for group, split in zip(groups, splits, strict=True) if split == "test"}
    if len(usable) < 3:
        with pytest.raises(SplitError):
            split_by_group(table, FRACTIONS, seed)
        return
    sides = [{groups[row] for row in found} for found in split_by_group(table, FRACTIONS, seed).values()]
    assert sum(len(side) for side in sides) == len(set.union(*sides)) == len(usable)
    assert all(sides)


def test_real_table_is_split_close_to_the_fractions_for_every_label(streetframes):
    """Within 2 points of the fraction; the film of 300 lights cannot be divided, its label may be 3 points off."""
    labels = ["pedestrian", "car", "stop_sign", "traffic_light"]
    table = label_table(csv_table.frames(streetframes, Problems()), labels)
    usable_NL = table.entries_NL[[split != "test" for split in table.splits]]
    split = split_by_group(table, FRACTIONS, seed=0)
    for name, rows in split.items():
        for value in (0, 1):
            share_L = (table.entries_NL[rows] == value).sum(axis=0) / (usable_NL == value).sum(axis=0)
            np.testing.assert_allclose(share_L, FRACTIONS[name], atol=0.03)
        assert not any(table.splits[row] == "test" for row in rows)


def test_rows_that_are_only_to_learn_from_go_to_the_first_split_and_change_no_other():
    """They were chosen for being hard: what is held out stays what it is without them."""
    fair = table_of([[i % 2] for i in range(40)])
    more = table_of([[i % 2] for i in range(60)], splits=["train"] * 40 + ["fit"] * 20)
    before, after = (split_by_group(table, FRACTIONS, seed=4) for table in (fair, more))
    first, *others = FRACTIONS
    assert all(before[name].tolist() == after[name].tolist() for name in others)
    assert after[first].tolist() == [*before[first].tolist(), *range(40, 60)]


def test_scene_that_is_also_in_a_fair_sample_may_be_held_out_without_what_was_kept_for_being_hard():
    """Of one scene, some rows drawn fairly and some kept for being hard: it is dealt out like any other."""
    table = table_of(
        [[i % 2] for i in range(40)], groups=[f"g{i // 2}" for i in range(40)], splits=["train", "fit"] * 20
    )
    split = split_by_group(table, FRACTIONS, seed=0)
    assert all(len(rows) for rows in split.values())
    assert len({table.groups[row] for rows in split.values() for row in rows}) == 20
    first, *others = FRACTIONS
    assert {table.splits[row] for row in split[first]} == {"train", "fit"}
    assert {table.splits[row] for name in others for row in split[name]} == {"train"}
