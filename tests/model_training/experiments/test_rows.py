"""Every arm of a seed sees as many frames of the same split; what the teacher says is all that may differ."""

import numpy as np
import pytest

from model_training.configuration import TrainingConfiguration
from model_training.errors import InvalidConfiguration
from model_training.experiments.plan import Declaration, planned
from model_training.experiments.rows import SeedRows, said_by
from tests.model_training.tables import table_of

LABELS = ("a", "b")
# 100 scenes of two frames; b is known in every fourth scene; 10 more frames are test rows.
TABLE = table_of(
    [[row % 2, (row // 8) % 2 if row // 2 % 4 == 0 else -1] for row in range(210)],
    LABELS,
    groups=[f"scene{row // 2}" for row in range(210)],
    sources=["big" if row % 16 > 1 else "small" for row in range(210)],
    splits=["train" if row < 200 else "test" for row in range(210)],
)
RECIPE = TrainingConfiguration(
    labels=LABELS, epochs=3, batch_size=10, validation=0.15, calibration=0.1, source_exponent=0.5
)
PLAN = planned(
    Declaration.model_validate(
        {
            "seeds": [0, 1],
            "change": [
                {"name": "no teacher", "why": "-", "teacher": "none"},
                {"name": "scores", "why": "-", "teacher": "scores"},
                {"name": "alike", "why": "-", "set": {"source_exponent": 1.0}},
                {"name": "batches", "why": "-", "set": {"batch_size": 40}},
            ],
        }
    ),
    RECIPE,
    "boxes",
)
BASE, SILENT, SCORES, ALIKE, BATCHES = PLAN.arms


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A box for each label in every frame, sure where the label is there."""
    path = tmp_path_factory.mktemp("teacher") / "boxes.csv"
    lines = [
        f"{image.resolve()},{label},{0.95 if there else 0.02},0.1,0.1,0.5,0.5"
        for row, image in enumerate(TABLE.images)
        for label, there in zip(LABELS, (row % 2, row // 8 % 2), strict=True)
    ]
    path.write_text("\n".join(["image,label,score,x0,y0,x1,y1", *lines]) + "\n")
    return path


@pytest.fixture(scope="module")
def rows(teacher):
    return SeedRows.of(PLAN, TABLE, teacher, 1)


def test_all_arms_see_as_many_frames_of_the_same_split(rows):
    """Three epochs of 75 % of 200 rows are 450 frames: 45 batches of 10, or 11 whole ones of 40."""
    drawn = {arm.name: rows.of_arm(arm) for arm in PLAN.arms}
    assert {name: len(of_arm.train) for name, of_arm in drawn.items()} == {
        "base": 450,
        "no teacher": 450,
        "scores": 450,
        "alike": 450,
        "batches": 440,
    }
    train = set(rows.assembled.train.tolist())
    assert all(set(of_arm.train.tolist()) <= train for of_arm in drawn.values())
    assert np.array_equal(drawn["base"].train, drawn["no teacher"].train)


def test_drawing_every_frame_alike_is_seen_in_what_is_drawn(rows):
    """Of 450 draws, small (an eighth of the frames) gets about 1 / 8, or with roots 1 / (1 + 7 ** 0.5)."""
    shares = [np.mean([TABLE.sources[row] == "small" for row in rows.of_arm(arm).train]) for arm in (ALIKE, BASE)]
    assert shares == [pytest.approx(1 / 8, abs=0.03), pytest.approx(1 / (1 + 7**0.5), abs=0.03)]


def test_held_out_rows_are_of_other_scenes_and_no_test_rows(rows):
    held_out, train = (
        {TABLE.groups[row] for row in part} for part in (rows.held_out.tolist(), rows.assembled.train.tolist())
    )
    assert not held_out & train
    assert len(rows.held_out) == 50
    assert all(TABLE.splits[row] == "train" for row in rows.held_out)


def test_an_arm_is_told_what_its_teacher_may_say(rows):
    """Boxes and scores; scores alone; nothing."""
    base, scores, silent = (rows.of_arm(arm).soft for arm in (BASE, SCORES, SILENT))
    assert any(base.hints)
    assert not any(scores.hints)
    assert np.array_equal(base.probabilities_NL, scores.probabilities_NL, equal_nan=True)
    assert (scores.reliability_L > 0).all()
    assert np.isnan(silent.probabilities_NL).all()


def test_opinions_are_of_entries_that_nobody_labelled(rows):
    """b is unknown in three of four scenes, and there the teacher is sure; a is known everywhere."""
    opinions_NL = rows.opinions_NL()
    unknown_N = TABLE.entries_NL[rows.held_out, 1] == -1
    assert (opinions_NL[:, 0] == -1).all()
    assert (opinions_NL[~unknown_N, 1] == -1).all()
    assert opinions_NL[unknown_N, 1].tolist() == [int(row // 8 % 2) for row in rows.held_out[unknown_N]]


def test_a_run_is_known_by_all_that_it_learns_from(rows):
    """Other data, another teacher or other draws are another run."""
    digests = [rows.digest_of(arm, "data") for arm in PLAN.arms]
    assert len({*digests, rows.digest_of(BASE, "other data")}) == 6
    assert rows.digest_of(BASE, "data") == digests[0]


def test_what_a_teacher_can_say_is_read_from_its_file(teacher, tmp_path):
    (tmp_path / "scores.csv").write_text(f"image,a,b\n{TABLE.images[0].resolve()},0.5,0.5\n")
    assert [said_by(path, TABLE) for path in (teacher, tmp_path / "scores.csv", None)] == ["boxes", "scores", "none"]


def test_a_label_without_both_kinds_of_entries_is_refused():
    one_kind = table_of([[row % 2, 1] for row in range(100)], LABELS)
    with pytest.raises(InvalidConfiguration, match=r"train rows of seed 1: b is present in \d+ and absent in 0 frames"):
        SeedRows.of(PLAN, one_kind, None, 1)
