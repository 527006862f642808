"""The report says what was measured, whatever came out, and what is still missing."""

from model_training.comparison.costs import ArmCost
from model_training.comparison.plan import planned
from model_training.comparison.report import markdown, save_plot
from model_training.comparison.results import Contrast, Results, SettingCosts
from model_training.comparison.statistics import Difference
from model_training.configuration import TrainingConfiguration

NAN = float("nan")
PLAN = planned(TrainingConfiguration(labels=("car", "stop_sign")), 2, (0.5, 1.0), None, (), {})
TRUNK = PLAN.configuration.network.trunk


def contrast(fraction, difference, rows="held out"):
    found = Difference("car", 0.75, 0.75 - difference, difference, -0.1, 0.2, (0.01, -0.02), 40, 10)
    others = [Difference(label, 0.5, 0.5, 0.0, NAN, NAN, (0.0, 0.0), 40, 10) for label in ("stop_sign", "mean")]
    return Contrast(
        rows=rows,
        trunk=TRUNK,
        fraction=fraction,
        ours="joint",
        theirs="separate",
        seeds=(0, 1),
        differences=(found, *others),
    )


RESULTS = Results(
    plan=PLAN,
    method="How it was measured.",
    planned=12,
    networks=(),
    contrasts=(contrast(0.5, 0.03), contrast(1.0, -0.04), contrast(1.0, 0.25, rows="town|side")),
    costs=(
        SettingCosts(
            trunk=TRUNK, fraction=1.0, arms=(ArmCost("separate", 2, 6051524, 8.0, 2.0, 1.9, 2.1, 13152, 90.0),)
        ),
    ),
)


def test_a_difference_stands_in_one_row_with_interval_seeds_and_counts():
    """A loss is shown like a gain."""
    text = markdown(RESULTS)
    row = "| 50% | joint - separate | car | 0.750 | 0.720 | +0.030 (-0.100 to +0.200) | +0.010 -0.020 | 40 | 10 |"
    assert f"| {TRUNK} {row}" in text
    assert "| 0.790 | -0.040 (-0.100 to +0.200) |" in text


def test_test_sets_stand_apart_from_held_out_rows():
    """And their names cannot break the table."""
    held_out, _, tested = markdown(RESULTS).partition("### Test set town|side (reported only)")
    assert "+0.250" in tested
    assert "+0.250" not in held_out
    assert "+0.030" in held_out


def test_costs_are_those_of_answering_all_labels():
    assert f"| {TRUNK} | 100% | separate | 2 | 6,051,524 | 8.00 | 2.00 (1.90 to 2.10) | 13,152 | 1.5 |" in markdown(
        RESULTS
    )


def test_an_unfinished_comparison_says_so():
    assert "**12 of 12 networks are still missing.**" in markdown(RESULTS)
    assert "missing" not in markdown(RESULTS.model_copy(update={"planned": 0}))


def test_the_method_stands_beside_the_figures():
    assert "How it was measured." in markdown(RESULTS)


def test_the_plot_is_a_png_even_where_an_interval_is_undefined(tmp_path):
    save_plot(RESULTS, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
