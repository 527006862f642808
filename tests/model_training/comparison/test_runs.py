"""A network of a comparison is trained once, goes on after a kill, and is held to its settings and data."""

import numpy as np
import pytest
import torch

from model_training import data_description
from model_training.comparison.plan import planned
from model_training.comparison.rows import SeedRows, data_digest
from model_training.comparison.runs import TEST, Runs, finished
from model_training.configuration import NetworkConfiguration, TrainingConfiguration
from model_training.errors import CheckpointError
from model_training.measured_run import HELD_OUT, Scores
from model_training.trainer import Progress
from tests.model_training.painted_frames import LABELS, write_painted_frames

CONFIGURATION = TrainingConfiguration(
    labels=LABELS,
    height=64,
    width=96,
    network=NetworkConfiguration(trunk="test_efficientnet", pretrained="none", head_width=16),
    epochs=1,
    batch_size=8,
    precision="float32",
    loader_workers=0,
    checkpoint_every_steps=1,
    validation=0.2,
    calibration=0.2,
)
PLAN = planned(CONFIGURATION, 1, (1.0,), None, (), {})
JOINT, RED, GREEN = PLAN.cells()


class Killed(BaseException):
    """Stands for the process dying; nothing may catch it."""


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    data = write_painted_frames(tmp_path_factory.mktemp("painted") / "data")
    (data / "data.toml").write_text('labels = ["red", "green"]\n[[sources]]\nformat = "table"\npath = "."\n')
    return data_description.load(data / "data.toml")[0]


@pytest.fixture(scope="module")
def rows(table):
    return SeedRows.of(PLAN, table, 0)


def runs(table, folder, plan=PLAN):
    return Runs(plan, table, data_digest(table), folder, torch.device("cpu"))


@pytest.fixture(scope="module")
def trained(table, rows, tmp_path_factory):
    """A folder in which the network for red has been trained."""
    whole = runs(table, tmp_path_factory.mktemp("whole"))
    whole.train(RED, rows, lambda _: None)
    return whole


def test_a_finished_network_has_said_what_it_sees_in_the_held_out_rows(trained, table, rows):
    scores = Scores.load(trained.folder / RED.folder / HELD_OUT)
    assert scores.logits_NL.shape == (len(rows.held_out), 1)
    assert scores.entries_NL[:, 0].tolist() == table.entries_NL[rows.held_out, 0].tolist()
    assert scores.groups_N.tolist() == [table.groups[row] for row in rows.held_out]
    assert scores.images_N.tolist() == [table.images[row].name for row in rows.held_out]


def test_a_finished_network_is_known_by_its_budget(trained):
    """60 % of 56 rows are 33.6: 4 batches of 8, all of frames where red is known."""
    result = finished(PLAN, trained.folder)[RED]
    assert result.frames_seen == result.known_entries_seen == 32
    assert result.seconds_per_frame > 0
    assert not (trained.folder / RED.folder / "resume.pt").exists()


def test_a_finished_network_is_not_trained_again(trained, rows):
    before = (trained.folder / RED.folder / HELD_OUT).stat().st_mtime_ns
    trained.train(RED, rows, lambda _: pytest.fail("it was trained again"))
    assert (trained.folder / RED.folder / HELD_OUT).stat().st_mtime_ns == before


def test_a_network_that_was_killed_goes_on_to_the_same_scores(trained, table, rows, tmp_path):
    """Killed in its third step; nothing of it counts as finished until it is."""

    def dying(progress: Progress) -> None:
        if progress.step == 3:
            raise Killed

    again = runs(table, tmp_path)
    with pytest.raises(Killed):
        again.train(RED, rows, dying)
    assert finished(PLAN, tmp_path) == {}
    again.train(RED, rows, lambda _: None)
    one, other = (Scores.load(folder / RED.folder / HELD_OUT) for folder in (trained.folder, tmp_path))
    assert np.array_equal(one.logits_NL, other.logits_NL)


def test_test_rows_are_scored_by_the_network_as_it_was_kept(trained, table):
    trained.score_test(RED)
    scores = Scores.load(trained.folder / RED.folder / TEST)
    assert set(scores.sources_N.tolist()) == {"gallery"}
    assert scores.logits_NL.shape == (10, 1)


def test_other_settings_are_refused_by_name(trained, table):
    other = planned(CONFIGURATION.model_copy(update={"learning_rate": 0.5}), 1, (1.0,), None, (), {})
    with pytest.raises(CheckpointError, match=r"learning_rate: 0\.001 there, 0\.5 asked for"):
        runs(table, trained.folder, other).is_finished(RED)
    with pytest.raises(CheckpointError, match="learning_rate"):
        finished(other, trained.folder)


def test_other_data_are_refused(trained, table):
    other = Runs(PLAN, table, "another digest", trained.folder, torch.device("cpu"))
    with pytest.raises(CheckpointError, match="only_red was trained on other data"):
        other.is_finished(RED)
