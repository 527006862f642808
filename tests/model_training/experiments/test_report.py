"""The report shows every change alike, whatever came out."""

from model_training.comparison.statistics import Difference
from model_training.configuration import TrainingConfiguration
from model_training.experiments.plan import Declaration, planned
from model_training.experiments.report import markdown
from model_training.experiments.results import FrameTime, Outcome, Results, RunRecord
from model_training.measured_run import RunResult

CHANGES = [
    {"name": "no crops", "why": "to see | nothing", "set": {"augmentation.crop": 0.0}},
    {"name": "other trunk", "why": "more of it", "set": {"network.trunk": "resnet18"}, "teacher": "none"},
]
PLAN = planned(
    Declaration.model_validate({"seeds": [0, 1], "change": CHANGES}), TrainingConfiguration(labels=("car",)), "scores"
)


def differences(ours, difference, low, high):
    return tuple(
        Difference(label, ours, ours - difference, difference, low, high, (difference,), 40, 10)
        for label in ("car", "mean")
    )


def outcome(arm, found, training=1.0, time=(2.0, 1.0, 1.0, 1.0), taught=()):
    times = FrameTime(**dict(zip(("ms", "ratio", "low", "high"), time, strict=True)))
    return Outcome(
        arm=arm, seeds=(0, 1), labelled=found, taught=taught, parameters=1, training_ratio=training, frame_time=times
    )


RUN = RunResult(
    configuration=PLAN.base.configuration_of(0),
    data="",
    frames_seen=6576,
    distinct_frames=1,
    known_entries_seen=1,
    parameters=1,
    seconds_per_frame=None,
)
RESULTS = Results(
    plan=PLAN,
    method="How it was measured.",
    runs=(RunRecord(arm="base", seed=0, result=RUN),),
    outcomes=(
        outcome("base", differences(0.8, 0, 0, 0), taught=differences(0.6, 0, 0, 0)),
        outcome("no crops", differences(0.75, -0.05, -0.09, -0.01), 0.96, taught=differences(0.61, 0.01, -0.1, 0.2)),
        outcome("other trunk", differences(0.81, 0.01, -0.02, float("nan")), None, (3.0, 1.5, 1.4, 1.6)),
    ),
)


def rows(text):
    return {line.split(" | ")[0].removeprefix("| "): line for line in text.splitlines() if line.startswith("| ")}


def test_a_change_stands_beside_the_base_with_interval_and_cost():
    """What leaves out 0 is bold; a loss is shown like a gain."""
    labelled = rows(markdown(RESULTS).partition("### Agreement")[0])
    assert labelled["*base*"] == "| *base* | 0.800 | 0.800 | 2 | 1.00 | 2.00 |"
    cell = "0.750<br>**-0.050 (-0.090 to -0.010)**"
    assert labelled["no crops"] == f"| no crops | {cell} | {cell} | 2 | 0.96 |  |"
    assert labelled["other trunk"].endswith("| 2 |  | 3.00<br>x 1.50 (1.40 to 1.60) |")
    assert labelled["*present of all, a seed*"].startswith("| *present of all, a seed* | 10 of 40 | 10 of 40 |")


def test_an_interval_that_holds_0_is_not_bold():
    taught = rows(markdown(RESULTS).partition("### Agreement")[2])
    assert "| 0.610<br>+0.010 (-0.100 to +0.200) |" in taught["no crops"]


def test_agreement_is_said_to_be_no_truth():
    assert "agreement and not truth" in markdown(RESULTS)


def test_without_opinions_there_is_nothing_about_a_teacher():
    silent = tuple(outcome.model_copy(update={"taught": ()}) for outcome in RESULTS.outcomes)
    assert "### Agreement" not in markdown(RESULTS.model_copy(update={"outcomes": silent}))


def test_each_change_is_named_with_what_it_sets_and_why():
    text = markdown(RESULTS)
    assert "- *no crops* (`augmentation.crop = 0.0`): to see | nothing" in text
    assert '- *other trunk* (`network.trunk = "resnet18"`, `teacher = "none"`): more of it' in text


def test_runs_that_are_missing_are_counted():
    """Three arms with two seeds, of which one run is there."""
    assert "**5 of 6 runs are still missing.**" in markdown(RESULTS)
    assert "6,576 frames seen" in markdown(RESULTS)
