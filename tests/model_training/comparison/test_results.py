"""Networks' scores become arms' answers, on the same rows, and nothing that is missing is passed over in silence."""

import json

import numpy as np
import pytest
from scipy.special import logit

from model_training.comparison.plan import planned
from model_training.comparison.results import gathered
from model_training.comparison.runs import TEST
from model_training.configuration import TrainingConfiguration
from model_training.errors import CheckpointError
from model_training.measured_run import HELD_OUT, RunResult, Scores

LABELS = ("red", "green")
PLAN = planned(TrainingConfiguration(labels=LABELS), 2, (1.0,), None, ("averaged",), {"town": ("a", "b")})
FULL = PLAN.settings()[0]
ENTRIES_NL = np.array([[1, 1], [0, 0], [1, -1], [0, 1]], np.int8)
SOURCES = ("a", "a+c", "b", "c")


def even_times(setting):
    return dict.fromkeys(setting.arms, (1.0, 1.0))


def finish(folder, cell, probabilities_NL, entries_NL=ENTRIES_NL, data="same", images=range(4)):
    """Write what a finished network leaves."""
    own = folder / cell.folder
    own.mkdir(parents=True)
    columns = [LABELS.index(label) for label in cell.labels]
    logits_NL = logit(np.asarray(probabilities_NL, np.float64)[:, columns]).astype(np.float32)
    names = np.asarray([str(image) for image in images])
    scores = Scores(logits_NL, entries_NL[:, columns], np.array(["g", "h", "i", "j"]), np.array(SOURCES), names)
    scores.save(own / HELD_OUT)
    scores.save(own / TEST)
    configuration = PLAN.configuration_of(cell)
    numbers = {"frames_seen": 1, "distinct_frames": 1, "known_entries_seen": 1, "parameters": 1}
    result = RunResult(configuration=configuration, data=data, **numbers, seconds_per_frame=1.0)
    (own / "result.json").write_text(result.model_dump_json())


GOOD = [[0.9, 0.9], [0.2, 0.1], [0.8, 0.5], [0.1, 0.8]]
BAD = [[0.1, 0.9], [0.9, 0.95], [0.2, 0.5], [0.8, 0.8]]


def finish_all(folder, seeds=(0, 1), joint=GOOD, single=BAD):
    for cell in PLAN.cells():
        if cell.seed in seeds:
            finish(folder, cell, joint if len(cell.labels) > 1 else single)


def test_single_networks_answer_together_what_the_joint_one_answers_alone(tmp_path):
    """Joint is perfect. Red of the others has its two present frames at ranks 3 and 4: (1/3 + 2/4) / 2; green has
    an absent one first: (1/2 + 2/3) / 2."""
    finish_all(tmp_path)
    results = gathered(PLAN, tmp_path, even_times, resamples=20)
    contrast = results.contrasts[0]
    assert (contrast.rows, contrast.ours, contrast.theirs, contrast.seeds) == ("held out", "joint", "separate", (0, 1))
    red, green, mean = contrast.differences
    assert (red.ours, green.ours) == (1, 1)
    assert red.theirs == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert green.theirs == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert mean.difference == pytest.approx(1 - (red.theirs + green.theirs) / 2)
    assert green.n == 3


def test_averaged_networks_answer_with_their_mean_probability(tmp_path):
    """Frame 1, absent, gets 0.2 and 0.9 for red, more than frame 2, present, gets from 0.8 and 0.2."""
    for cell in PLAN.cells():
        finish(tmp_path, cell, BAD if cell.member else GOOD)
    averaged = next(c for c in gathered(PLAN, tmp_path, even_times, 20).contrasts if c.ours == "averaged")
    # Means for red: 0.5, 0.55, 0.5, 0.45; both present frames tie behind one absent.
    assert averaged.differences[0].ours == pytest.approx(2 / 3)


def test_sure_answers_keep_their_order(tmp_path):
    """Logits of 20 and 25 are both 1 in float32."""
    finish_all(tmp_path)
    for cell in PLAN.cells():
        if cell.labels == LABELS:
            path = tmp_path / cell.folder / HELD_OUT
            scores = Scores.load(path)
            logits_NL = np.array([[25, 1], [20, 0], [24, 0], [19, 1]], np.float32)
            Scores(logits_NL, scores.entries_NL, scores.groups_N, scores.sources_N, scores.images_N).save(path)
    assert gathered(PLAN, tmp_path, even_times, 20).contrasts[0].differences[0].ours == 1


def test_a_test_set_has_the_rows_of_its_sources_and_the_labels_it_can_judge(tmp_path):
    """a, a+c and b are three rows; green is present and absent there once each."""
    finish_all(tmp_path)
    town = [c for c in gathered(PLAN, tmp_path, even_times, 20).contrasts if c.rows == "town"]
    assert [(c.ours, c.theirs) for c in town] == [("joint", "separate"), ("averaged", "separate")]
    assert [(d.label, d.n) for d in town[0].differences] == [("red", 3), ("green", 2), ("mean", 5)]


def test_a_seed_counts_once_all_of_its_networks_are_there(tmp_path):
    """Seed 1 lacks everything; what is missing is told."""
    finish_all(tmp_path, seeds=(0,))
    results = gathered(PLAN, tmp_path, even_times, resamples=20)
    assert all(contrast.seeds == (0,) for contrast in results.contrasts)
    assert (len(results.networks), results.planned) == (4, 8)


def test_networks_that_cannot_be_paired_are_told(tmp_path):
    finish(tmp_path, PLAN.cells()[0], GOOD)
    with pytest.raises(CheckpointError, match="1 of 8 networks have finished, no two arms of one seed"):
        gathered(PLAN, tmp_path, even_times)


def test_networks_of_other_rows_or_data_are_not_compared(tmp_path):
    joint, red, green, *_ = PLAN.cells()
    for cell, images in ((joint, range(4)), (red, range(1, 5)), (green, range(1, 5))):
        finish(tmp_path / "rows", cell, GOOD, images=images)
    with pytest.raises(CheckpointError, match="not measured on the same rows"):
        gathered(PLAN, tmp_path / "rows", even_times)
    for cell, data in ((joint, "one"), (red, "other"), (green, "one")):
        finish(tmp_path / "data", cell, GOOD, data=data)
    with pytest.raises(CheckpointError, match="trained on different data"):
        gathered(PLAN, tmp_path / "data", even_times)


def test_the_document_is_json_that_holds_every_network(tmp_path):
    """With its settings and figures, so that it can be read without the folder."""
    finish_all(tmp_path)
    gathered(PLAN, tmp_path, even_times, resamples=20).save(tmp_path)
    document = json.loads((tmp_path / "results.json").read_text())
    assert len(document["networks"]) == 8
    assert document["networks"][0]["cell"]["labels"] == ["red", "green"]
    assert document["networks"][0]["result"]["configuration"]["epochs"] == 1
    assert {cost["arm"] for cost in document["costs"][0]["arms"]} == {"joint", "separate", "averaged"}
    assert "pigeonhole" in document["method"]
