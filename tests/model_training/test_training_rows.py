import numpy as np
import pytest

from model_training import data_description
from model_training.configuration import TrainingConfiguration
from model_training.errors import SplitError
from model_training.teacher.file import read_teacher
from model_training.teacher.soft_targets import soft_targets
from model_training.training_rows import assemble
from tests.model_training.tables import table_of


def rows_by_split(rows):
    return {"train": rows.train, "validation": rows.validation, "calibration": rows.calibration}


def assert_apart(table, rows):
    """No row twice, no test row, no scene on two sides or beside one of its frames in test."""
    splits = rows_by_split(rows)
    used = np.concatenate(list(splits.values())).tolist()
    assert len(set(used)) == len(used)
    tested = {group for group, split in zip(table.groups, table.splits, strict=True) if split == "test"}
    scenes = [{table.groups[row] for row in chosen} for chosen in splits.values()]
    assert not set().union(*scenes) & tested
    assert sum(map(len, scenes)) == len(set().union(*scenes))


def mixed_table(tmp_path=None):
    """120 frames of 40 scenes, each third of them test."""
    random = np.random.default_rng(0)
    return table_of(
        random.integers(-1, 2, (120, 2)),
        ("car", "stop_sign"),
        images=[tmp_path / f"{row}.png" for row in range(120)] if tmp_path else None,
        groups=[f"scene{row // 3}" for row in range(120)],
        splits=["test" if row // 3 % 3 == 0 else "train" for row in range(120)],
    )


def test_splits_hold_every_row_outside_test_once():
    table = mixed_table()
    rows = assemble(table, TrainingConfiguration(validation=0.2, calibration=0.1))
    assert_apart(table, rows)
    used = np.concatenate(list(rows_by_split(rows).values()))
    assert sorted(used) == [row for row, split in enumerate(table.splits) if split == "train"]


def test_kept_frames_that_nobody_has_answered_are_not_learned_from():
    """They would take places in every batch, and their images may be taken away meanwhile."""
    drawn, kept = [[row % 2, 0] for row in range(40)], [[-1, -1], [-1, 0], [1, -1]]
    table = table_of(drawn + kept, ("car", "stop_sign"), splits=["train"] * 40 + ["fit"] * 3)
    assert set(assemble(table, TrainingConfiguration()).train) & {40, 41, 42} == {41, 42}


def test_held_out_shares_are_as_configured():
    """Of 78 frames outside test, 20 % and 10 % give or take two scenes of three frames."""
    rows = assemble(mixed_table(), TrainingConfiguration(validation=0.2, calibration=0.1))
    assert len(rows.validation) == pytest.approx(0.2 * 78, abs=6)
    assert len(rows.calibration) == pytest.approx(0.1 * 78, abs=6)


def test_same_table_and_configuration_give_the_same_rows():
    """The export splits anew and must find the rows that training held out."""
    first, again = (rows_by_split(assemble(mixed_table(), TrainingConfiguration())) for _ in range(2))
    assert all((first[name] == again[name]).all() for name in first)


def test_without_a_teacher_there_are_no_soft_targets():
    assert np.isnan(assemble(mixed_table(), TrainingConfiguration()).soft.probabilities_NL).all()


def test_teacher_learns_from_train_rows_alone(tmp_path):
    """Labels of test and held-out rows, all of them turned around, change no soft target."""
    table, scores = mixed_table(tmp_path), np.random.default_rng(1).random(120)
    lines = [f"{row}.png,{score:.4f}" for row, score in enumerate(scores)]
    (tmp_path / "teacher.csv").write_text("image,car\n" + "\n".join(lines) + "\n")
    rows = assemble(table, TrainingConfiguration(), tmp_path / "teacher.csv")
    taught = ~np.isnan(rows.soft.probabilities_NL)
    assert (taught == ((table.entries_NL == -1) & np.array([True, False]))).all()

    turned_NL = table.entries_NL.copy()
    others = np.setdiff1d(np.arange(120), rows.train)
    turned_NL[others] = np.choose(turned_NL[others] + 1, [-1, 1, 0])
    columns = {"images": table.images, "groups": table.groups, "splits": table.splits}
    # Turning entries around could move scenes to other splits, so the teacher is asked for the same train rows.
    turned = table_of(turned_NL, table.labels, **columns)
    again = soft_targets(turned, read_teacher(tmp_path / "teacher.csv", turned), rows.train)
    assert np.array_equal(again.probabilities_NL, rows.soft.probabilities_NL, equal_nan=True)


def test_nothing_left_to_train_on_is_said():
    with pytest.raises(SplitError, match=r"train 0.*each must be above 0"):
        assemble(mixed_table(), TrainingConfiguration(validation=0.5, calibration=0.5))


def test_real_street_frames_are_apart(streetframes):
    """Test rows, train rows and held-out rows of the real data share no scene, and each label can be judged."""
    table, _ = data_description.load(streetframes)
    rows = assemble(table, TrainingConfiguration(labels=table.labels), streetframes / "teacher.csv")
    assert_apart(table, rows)
    for held_out in (rows.validation, rows.calibration):
        entries_NL = table.entries_NL[held_out]
        assert all({0, 1} <= set(entries_NL[:, label].tolist()) for label in range(len(table.labels)))
    used = sum(len(chosen) for chosen in rows_by_split(rows).values())
    assert used == table.splits.count("train")
    taught_NL = ~np.isnan(rows.soft.probabilities_NL)
    assert taught_NL.any(axis=0).all()
    assert not (taught_NL & table.known_NL).any()
