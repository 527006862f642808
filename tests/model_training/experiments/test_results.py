"""Every change is measured against the base of the same seeds, as labelled and as the teacher sees it."""

import json
import math

import numpy as np
import pytest

from model_training.configuration import NetworkConfiguration, TrainingConfiguration
from model_training.errors import CheckpointError
from model_training.experiments.plan import Declaration, planned
from model_training.experiments.results import frame_times, gathered
from model_training.experiments.runs import finished, keep_opinions
from model_training.measured_run import HELD_OUT, RunResult, Scores

RECIPE = TrainingConfiguration(
    labels=("red", "green"),
    height=64,
    width=96,
    network=NetworkConfiguration(trunk="test_efficientnet", pretrained="none", head_width=16),
)
CHANGES = [
    {"name": "sharper", "why": "it may be", "set": {"learning_rate": 0.5}},
    {"name": "larger", "why": "it may see more", "set": {"height": 128, "width": 192}},
]
PLAN = planned(Declaration.model_validate({"seeds": [0, 1], "change": CHANGES}), RECIPE, "boxes")
BASE, SHARPER, LARGER = PLAN.arms
ENTRIES_NL = np.array([[1, 1], [0, 0], [1, -1], [-1, 1]], np.int8)
OPINIONS_NL = np.array([[-1, -1], [-1, -1], [-1, 1], [0, -1]], np.int8)
# Ranks the absent frame of red last; of green too.
GOOD = [[2.0, 2.0], [-2.0, -2.0], [1.0, 1.0], [0.0, 1.0]]
# Ranks the absent frame of red first; of green last.
BAD = [[1.0, 2.0], [2.0, -2.0], [0.0, 1.0], [3.0, 1.0]]


def finish(folder, arm, seed, logits_NL, seconds=1.0, images="abcd", opinions_NL=OPINIONS_NL):
    """Write what a finished run leaves."""
    own = folder / arm.folder(seed)
    own.mkdir(parents=True)
    keep_opinions(opinions_NL, folder, seed)
    groups, sources = np.array(["g", "h", "i", "j"]), np.array(["s"] * 4)
    Scores(np.array(logits_NL, np.float32), ENTRIES_NL, groups, sources, np.array(list(images))).save(own / HELD_OUT)
    result = RunResult(
        configuration=arm.configuration_of(seed),
        data=f"{arm.name} {seed}",
        frames_seen=96,
        distinct_frames=48,
        known_entries_seen=100,
        parameters=10,
        seconds_per_frame=seconds,
    )
    (own / "result.json").write_text(result.model_dump_json())


def even_times(arms):
    return {arm.name: (4.0, 4.0) if arm.name == "larger" else (2.0, 2.0) for arm in arms}


@pytest.fixture
def folder(tmp_path):
    """Both seeds of base and sharper, one of larger."""
    for seed in (0, 1):
        finish(tmp_path, BASE, seed, BAD, seconds=2.0)
        finish(tmp_path, SHARPER, seed, GOOD, seconds=3.0 + seed)
    finish(tmp_path, LARGER, 0, BAD)
    return tmp_path


def outcomes(folder):
    return {outcome.arm: outcome for outcome in gathered(PLAN, folder, even_times, resamples=20).outcomes}


def test_a_change_is_measured_by_its_difference_from_the_base(folder):
    """Base ranks red's two present frames behind the absent one: (1/2 + 2/3) / 2; the change ranks them 1 and 2."""
    red, green, mean = outcomes(folder)["sharper"].labelled
    assert (red.ours, red.theirs) == (1, pytest.approx(7 / 12))
    assert red.by_seed == (pytest.approx(5 / 12), pytest.approx(5 / 12))
    assert (green.difference, green.label, mean.label) == (0, "green", "mean")
    assert mean.difference == pytest.approx(5 / 24)
    assert (red.n, red.positives) == (3, 2)


def test_the_base_comes_first_with_its_own_level(folder):
    found = gathered(PLAN, folder, even_times, resamples=20).outcomes[0]
    assert found.arm == "base"
    assert [round(difference.ours, 4) for difference in found.labelled] == [0.5833, 1.0, 0.7917]
    assert all(difference.difference == 0 for difference in found.labelled)


def test_a_change_counts_the_seeds_that_it_has_in_common_with_the_base(folder):
    found = outcomes(folder)
    assert (found["sharper"].seeds, found["larger"].seeds) == ((0, 1), (0,))


def test_labels_of_which_the_teacher_has_one_opinion_only_are_left_out(folder):
    """It holds red to be absent in one frame and green to be present in one."""
    assert outcomes(folder)["sharper"].taught == ()


def test_agreement_is_measured_where_the_teacher_is_sure(tmp_path):
    """Of red it says present of frame 3 and absent of frame 4: the base ranks them the other way round."""
    opinions_NL = np.array([[-1, -1], [-1, -1], [1, 1], [0, -1]], np.int8)
    for seed in (0, 1):
        finish(tmp_path, BASE, seed, BAD, opinions_NL=opinions_NL)
        finish(tmp_path, SHARPER, seed, GOOD, opinions_NL=opinions_NL)
    red, mean = outcomes(tmp_path)["sharper"].taught
    assert (red.label, red.ours, red.theirs, red.n) == ("red", 1, 0.5, 2)
    assert mean.difference == red.difference


def test_costs_are_ratios_to_the_base(folder):
    """3 and 4 seconds a frame over 2: 1.5 and 2 on average."""
    found = outcomes(folder)
    assert found["sharper"].training_ratio == 1.75
    assert (found["larger"].frame_time.ms, found["larger"].frame_time.ratio) == (4, 2)
    assert found["sharper"].frame_time.ratio == 1


def test_training_that_was_not_timed_has_no_ratio(tmp_path):
    finish(tmp_path, BASE, 0, BAD)
    finish(tmp_path, SHARPER, 0, GOOD, seconds=None)
    assert outcomes(tmp_path)["sharper"].training_ratio is None


def test_results_are_kept_as_json(folder):
    """With every run, so that all of it can be computed again."""
    results = gathered(PLAN, folder, even_times, resamples=20)
    results.save(folder)
    document = json.loads((folder / "results.json").read_text())
    assert [outcome["arm"] for outcome in document["outcomes"]] == ["base", "sharper", "larger"]
    assert len(document["runs"]) == 5
    assert not math.isnan(document["outcomes"][1]["labelled"][0]["low"])


def test_runs_measured_on_other_rows_are_not_paired(tmp_path):
    finish(tmp_path, BASE, 0, BAD)
    finish(tmp_path, SHARPER, 0, GOOD, images="abce")
    with pytest.raises(CheckpointError, match="runs of seed 0 were not measured on the same rows"):
        gathered(PLAN, tmp_path, even_times)


def test_without_a_base_nothing_can_be_said(tmp_path):
    finish(tmp_path, SHARPER, 0, GOOD)
    with pytest.raises(CheckpointError, match="no run of the base has finished"):
        gathered(PLAN, tmp_path, even_times)


def test_opinions_that_cannot_be_read_are_named(folder):
    (folder / "seed_1" / "opinions.npy").write_bytes(b"none")
    with pytest.raises(CheckpointError, match=r"seed_1/opinions\.npy cannot be read"):
        gathered(PLAN, folder, even_times)


def test_a_run_of_other_settings_is_refused_by_name(folder):
    other = SHARPER.model_copy(update={"configuration": RECIPE.model_copy(update={"learning_rate": 0.25})})
    with pytest.raises(CheckpointError, match=r"learning_rate: 0\.5 there, 0\.25 asked for"):
        finished(PLAN.model_copy(update={"arms": (BASE, other)}), folder)


def test_networks_that_are_alike_are_timed_once(monkeypatch):
    """Another rate of learning makes no frame dearer; the first round sets memory up and does not count."""
    made, answered = [], []

    def stand_in(configuration):
        made.append(configuration.height)
        return lambda: answered.append(configuration.height)

    monkeypatch.setattr("model_training.experiments.results._answer", stand_in)
    times = frame_times(PLAN.arms, rounds=2)
    assert made == [64, 128]
    assert answered == [64, 128] * 3
    assert times["base"] is times["sharper"]
    assert times["larger"] is not times["base"]
