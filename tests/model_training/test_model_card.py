from dataclasses import replace
from pathlib import Path

import pytest

from model_training.model_card import model_card
from model_training.parity import SetParity
from model_training.variants.judging import RuleReached, Variant
from service.inference.artifact import Calibration, Figure, Label, ThresholdRule, TrainingData
from tests.tiny_model import tiny_metadata

METRICS = ("average_precision", "f1_at_threshold", "expected_calibration_error", "brier_score")
COMMAND = "roadcue-train evaluate street.onnx DATA --test-set four=x+y"


def figure(test_set, label, metric, value, n=50, positives=20, scenes=7):
    return Figure(
        test_set=test_set, label=label, metric=metric, value=value, low=value - 0.05, high=value + 0.05, n=n,
        positives=positives, scenes=scenes,
    )  # fmt: skip


def metadata_of(**changes):
    return tiny_metadata().model_copy(update=changes)


def tables(card):
    """The cells of every table row, by its heading."""
    lines = [line for line in card.splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_card_names_the_model_and_what_it_takes():
    card = model_card(tiny_metadata(("red", "green", "blue")), COMMAND)
    assert card.startswith("# tiny 0.0.1\n")
    assert "Presence of red, green and blue in a driving frame. float32, frames of 8 x 12 pixels" in card
    assert "evidence maps of 2 x 3 cells. Licence: Apache-2.0. Exported 2026-01-01T00:00:00Z." in card


def test_each_figure_stands_under_its_metric_and_beside_its_label():
    values = {("red", metric): 0.1 * place for place, metric in enumerate(METRICS, start=1)}
    found = [figure("four", label, metric, value) for (label, metric), value in values.items()]
    # The order in which figures come must not matter.
    rows = tables(model_card(metadata_of(figures=tuple(reversed(found))), COMMAND))
    heading = next(row for row in rows if row[0] == "test set")
    names = ["average precision", "F1 at threshold", "calibration error", "Brier score"]
    assert heading == ["test set", "label", "n", "present", "scenes", *names]
    (row,) = [row for row in rows if row[0] == "four"]
    assert row == [
        "four", "red", "50", "20", "7",
        "0.100 (0.050 to 0.150)", "0.200 (0.150 to 0.250)", "0.300 (0.250 to 0.350)", "0.400 (0.350 to 0.450)",
    ]  # fmt: skip


def test_every_figure_of_the_metadata_is_in_the_card_once():
    sets, labels = ("four", "domain"), ("red", "green")
    found = [
        figure(test_set, label, metric, 0.111 + 0.01 * index, n=100 + index)
        for index, (test_set, label, metric) in enumerate((s, j, m) for s in sets for j in labels for m in METRICS)
    ]
    card = model_card(metadata_of(figures=tuple(found)), COMMAND)
    for one in found:
        assert card.count(f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})") == 1
    assert [row[:2] for row in tables(card) if row[0] in sets] == [[s, j] for s in sets for j in labels]


def test_mean_has_empty_cells_where_it_has_no_figure():
    card = model_card(metadata_of(figures=(figure("four", "mean", "average_precision", 0.9),)), COMMAND)
    assert ["four", "mean", "50", "20", "7", "0.900 (0.850 to 0.950)", "", "", ""] in tables(card)


def test_figure_of_an_older_file_leaves_out_its_scenes():
    card = model_card(metadata_of(figures=(figure("four", "red", METRICS[0], 0.9, scenes=None),)), COMMAND)
    assert ["four", "red", "50", "20", "", "0.900 (0.850 to 0.950)", "", "", ""] in tables(card)


def test_thresholds_and_calibration_stand_beside_their_label():
    labels = (Label(key="red", title="red", threshold=0.25), Label(key="green", title="green", threshold=0.0004))
    calibration = {
        "green": Calibration(temperature=2.0, bias=-1.5),
        "red": Calibration(temperature=0.5, bias=0.25),
    }
    rows = tables(model_card(metadata_of(labels=labels, calibration=calibration), COMMAND))
    assert rows[0] == ["label", "threshold", "rule", "temperature", "bias"]
    # A small threshold is not rounded to 0, which would say that everything is present.
    assert rows[1:] == [
        ["red", "0.25", "best F1", "0.500", "+0.250"],
        ["green", "0.0004", "best F1", "2.000", "-1.500"],
    ]


@pytest.mark.parametrize(
    ("licences", "said"),
    [
        (("CC0-1.0",), "under CC0-1.0."),
        (("CC0-1.0", "CC-BY-4.0"), "under CC0-1.0 and CC-BY-4.0."),
        ((), "under nothing."),
    ],
)
def test_card_says_what_the_network_learned_from(licences, said):
    card = model_card(metadata_of(training_data=TrainingData(hash="abc123", frames=4110, licences=licences)), COMMAND)
    assert "4110 frames" in card
    assert said in card
    assert "`abc123`" in card


def test_card_tells_what_kept_variants_make_of_the_thresholds():
    parity = (SetParity("four", 0.9, 0.898),)
    red = RuleReached("red", ThresholdRule(metric="precision", at_least=0.95), 0.9524, 0.9474)
    int8 = Variant("int8", Path("m.int8.onnx"), parity, 3_600_000, reached=(red,))
    refused = replace(int8, precision="float16", parity=(SetParity("four", 0.9, 0.8),))
    card = model_card(metadata_of(), COMMAND, "", [int8, refused])
    assert tables(card)[-1] == ["int8", "red", "precision", "0.9474", "-0.0050"]
    assert "They have float32's thresholds" in card
    assert "thresholds, so that" not in model_card(metadata_of(), COMMAND, "", [replace(int8, reached=())])


def test_figures_of_what_cpus_serve_are_told_apart():
    """Those of int8, not of a variant that was not kept and so not measured."""
    parity = (SetParity("four", 0.9, 0.898),)
    own = (figure("four", "red", METRICS[0], 0.777),)
    int8 = Variant("int8", Path("m.int8.onnx"), parity, 3_600_000, {"entropy": 0.004, "minmax": 0.003}, own)
    card = model_card(metadata_of(figures=(figure("four", "red", METRICS[0], 0.9),)), COMMAND, "", [int8])
    before, after = card.split("the service runs int8, whose own figures are")
    assert "0.777 (0.727 to 0.827)" in after
    assert "0.777" not in before
    assert "the service runs int8" not in model_card(metadata_of(), COMMAND, "", [replace(int8, figures=())])


def test_command_and_remarks_are_in_the_card():
    card = model_card(
        metadata_of(figures=(figure("four", "red", METRICS[0], 0.9),)), COMMAND, "\n## Known\n\nIt rains.\n"
    )
    assert f"\n    {COMMAND}\n" in card
    assert card.endswith("\n\n## Known\n\nIt rains.\n")


def test_card_without_figures_has_no_section_for_them():
    assert "Figures" not in model_card(tiny_metadata(), COMMAND)


def test_bar_in_the_name_of_a_test_set_does_not_break_the_table():
    card = model_card(metadata_of(figures=(figure("a|b", "red", METRICS[0], 0.9),)), COMMAND)
    assert {len(row) for row in tables(card) if "red" in row and "50" in row} == {9}


def test_card_says_where_a_test_set_disagrees_with_the_calibration():
    """0.15 with an interval from 0.10 to 0.20; on the other set the interval holds 0."""
    off = Figure(
        test_set="four", label="red", metric="calibration_gap", value=0.15, low=0.1, high=0.2, n=50, positives=20,
        scenes=4,
    )  # fmt: skip
    fits = off.model_copy(update={"test_set": "two", "value": 0.01, "low": -0.03})
    precisions = [figure(name, "red", "average_precision", 0.9) for name in ("four", "two")]
    card = model_card(metadata_of(figures=(*precisions, off, fits)), COMMAND)
    assert "- red in four: probabilities are too high by 0.150 on average (0.100 to 0.200, n 50 in 4 scenes)" in card
    assert "red in two" not in card
    assert "disagree" not in model_card(metadata_of(figures=tuple(precisions)), COMMAND)


def test_card_says_which_threshold_was_not_chosen():
    why = "not chosen: 3 present, 0 absent held out"
    card = model_card(tiny_metadata(), COMMAND, not_chosen={"green": why})
    assert [row[:3] for row in tables(card)[1:]] == [["red", "0.5", "best F1"], ["green", "0.5", why]]
    assert "Where the rows told nothing the threshold is 0.5" in card
    assert "told nothing" not in model_card(tiny_metadata(), COMMAND)


def test_variant_that_could_not_be_compared_is_in_the_card():
    float16 = Variant("float16", Path("m.float16.onnx"), (), 6_300_000, {})
    rows = tables(model_card(metadata_of(), COMMAND, "", [float16]))
    assert rows[-1] == ["float16", "no", "6.3", "", "none", "not compared: no label has both kinds of known entries"]
