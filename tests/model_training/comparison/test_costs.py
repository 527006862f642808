"""Arms are timed in turn, and compared within one round."""

import pytest

from model_training.comparison.costs import arm_costs, interleaved, parameters_of
from model_training.comparison.plan import planned
from model_training.configuration import NetworkConfiguration, TrainingConfiguration
from model_training.errors import InvalidConfiguration
from model_training.measured_run import RunResult

CONFIGURATION = TrainingConfiguration(
    labels=("red", "green"),
    height=64,
    width=96,
    network=NetworkConfiguration(trunk="test_efficientnet", pretrained="none", head_width=16),
)
PLAN = planned(CONFIGURATION, 2, (1.0,), None, ("averaged",), {})
FULL = PLAN.settings()[0]


def result(parameters, frames, seconds):
    return RunResult(
        configuration=CONFIGURATION,
        data="",
        frames_seen=frames,
        distinct_frames=1,
        known_entries_seen=1,
        parameters=parameters,
        seconds_per_frame=seconds,
    )


def results(joint=(10, 100, 0.5), single=(7, 80, 0.25), skip=()):
    return {
        cell: result(*(joint if len(cell.labels) > 1 else single)) for cell in PLAN.cells() if cell.seed not in skip
    }


def test_costs_of_an_arm_are_those_of_all_its_networks():
    """Joint: one network; separate: 7 + 7 parameters, 80 + 80 frames of 0.25 s; averaged: two joint ones."""
    times = {"joint": (2.0, 2.0), "separate": (4.0, 4.0), "averaged": (5.0, 5.0)}
    joint, separate, averaged = arm_costs(PLAN, FULL, times, results())
    assert (joint.networks, joint.parameters, joint.frames_seen, joint.training_seconds) == (1, 10, 100, 50)
    assert (separate.networks, separate.parameters, separate.frames_seen) == (2, 14, 160)
    assert separate.training_seconds == 40
    assert (averaged.parameters, averaged.ratio) == (20, 2.5)


def test_ratio_is_the_median_of_ratios_within_a_round():
    """A round in which the machine was ten times as slow, 40 to 20 as 4 to 2, changes nothing."""
    times = {"joint": (2.0, 20.0, 2.0), "separate": (4.0, 40.0, 6.0), "averaged": (1.0, 1.0, 1.0)}
    separate = arm_costs(PLAN, FULL, times, results())[1]
    assert separate.ratio == 2
    assert separate.ratio_low <= 2 <= separate.ratio_high <= 3
    assert separate.ms_per_frame == 6


def test_training_that_could_not_be_timed_has_no_duration():
    times = dict.fromkeys(FULL.arms, (1.0,))
    assert arm_costs(PLAN, FULL, times, results(joint=(10, 100, None)))[0].training_seconds is None


def test_seeds_that_have_not_finished_do_not_count():
    times = dict.fromkeys(FULL.arms, (1.0,))
    assert arm_costs(PLAN, FULL, times, results(skip=(1,)))[0].frames_seen == 100


def test_an_arm_that_no_seed_has_finished_is_left_out():
    """Here the averaged one: its second networks are missing."""
    times = dict.fromkeys(FULL.arms, (1.0,))
    there = {cell: found for cell, found in results().items() if not cell.member}
    assert [cost.arm for cost in arm_costs(PLAN, FULL, times, there)] == ["joint", "separate"]


def test_arms_take_turns_and_the_first_rounds_do_not_count():
    """10 rounds after 1 to warm up."""
    turns = []
    times = interleaved({"joint": lambda: turns.append("j"), "separate": lambda: turns.append("s")}, 10)
    assert "".join(turns) == "js" * 11
    assert {arm: len(values) for arm, values in times.items()} == {"joint": 10, "separate": 10}


def test_parameters_of_joint_and_single_network_differ_by_a_label():
    """One label more is a row of 16 weights and a bias in the last layer, and a sharpness."""
    parameters = parameters_of(PLAN, "test_efficientnet")
    assert parameters[2] - parameters[1] == 16 + 1 + 1


def test_a_trunk_that_cannot_be_had_is_named_before_anything_is_trained():
    with pytest.raises(InvalidConfiguration, match="trunk 'resnet1800' cannot be used"):
        parameters_of(PLAN, "resnet1800")
