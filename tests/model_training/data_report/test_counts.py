import json
from pathlib import Path

import pytest

from model_training.data_report.counts import Entries, data_report
from model_training.data_report.page import save_html
from model_training.label_table import label_table
from model_training.sources import csv_table
from model_training.sources.problems import Kind, Problems
from tests.model_training.data_report.report_tables import ENTRIES, SOURCES, SPLITS, report_of
from tests.model_training.data_report.written_page import Page


def test_entries_are_counted_apart_for_training_and_test():
    report = report_of(ENTRIES, SPLITS, SOURCES)
    assert report.training == (Entries(2, 1, 1), Entries(1, 2, 1))
    assert report.test == (Entries(1, 1, 0), Entries(0, 1, 1))
    assert (report.frames_for_training, report.frames_for_test, report.groups) == (4, 2, 6)
    assert (report.training[0].known, report.training[0].total) == (3, 4)


def test_each_source_is_counted_in_each_split_with_test_last():
    report = report_of(ENTRIES, SPLITS, SOURCES, boxes=[{"car": ((0, 0, 1, 1),)}, *[{}] * 5])
    found = [(source.source, source.split, source.frames, source.entries[0]) for source in report.sources]
    assert found == [
        ("a", "train", 2, Entries(2, 0, 0)),
        ("b", "", 1, Entries(0, 1, 0)),
        ("b", "train", 1, Entries(0, 0, 1)),
        ("a", "test", 1, Entries(1, 0, 0)),
        ("c", "test", 1, Entries(0, 1, 0)),
    ]
    assert [source.boxed for source in report.sources] == [1, 0, 0, 0, 0]


def test_co_occurrence_counts_only_frames_in_which_both_labels_are_known():
    """Both are known in the first two rows, both present in the first."""
    report = report_of(ENTRIES, SPLITS, SOURCES)
    assert report.both_known == ((3, 2), (2, 3))
    assert report.both_present == ((2, 1), (1, 1))


@pytest.mark.parametrize(
    ("known", "verdict", "reason"),
    [
        ((10, 1), "holds", "car has 10 known entries and stop_sign 1: 10.0 times as many"),
        ((11, 1), "does not hold", "car has 11 known entries and stop_sign 1: 11.0 times as many"),
        ((3, 0), "does not hold", "stop_sign has no known entry at all; car has 3"),
        ((0, 0), "cannot be told", "No entry is known"),
    ],
)
def test_amounts_are_similar_up_to_ten_times(known, verdict, reason):
    entries = [[1 if i < known[0] else -1, 0 if i < known[1] else -1] for i in range(12)]
    condition = report_of(entries).conditions[0]
    assert condition.verdict == verdict
    assert reason in condition.reason


def test_conditions_that_counts_cannot_show_say_which_comparison_does():
    """In words: there is no command for it."""
    conditions = report_of(ENTRIES).conditions[1:]
    assert [condition.name for condition in conditions] == ["Shared low-level features", "A network that is big enough"]
    assert all(condition.verdict == "cannot be told" for condition in conditions)
    assert all("compar" in condition.reason and "roadcue-train" not in condition.reason for condition in conditions)


def test_label_with_few_known_negatives_is_warned_of():
    report = report_of([[1]] * 600 + [[0]] * 499, labels=("car",))
    assert report.warnings[0] == "car has few known negatives: 499 (fewer than 500)."
    assert not any("positives:" in warning for warning in report.warnings)


def test_lopsided_label_and_uneven_labels_are_warned_of():
    warnings = " ".join(report_of([[1, 1]] * 600 + [[0, 1]] * 6600).warnings)
    assert "car is lopsided: 600 positives against 6,600 negatives" in warnings
    assert "stop_sign has 7,200 known positives, car only 600" in warnings


def test_source_that_gives_a_label_away_is_warned_of():
    """Twenty known entries of one value, in a source for training."""
    entries = [[1]] * 20 + [[0]] * 19 + [[0]] * 30
    report = report_of(entries, ["train"] * 39 + ["test"] * 30, ["a"] * 20 + ["b"] * 19 + ["c"] * 30, ("car",))
    telling = [warning for warning in report.warnings if "recognise the source" in warning]
    assert len(telling) == 1
    assert telling[0].startswith("In a car is present in all 20 frames")


def test_json_has_the_fields_of_the_report():
    found = json.loads(report_of(ENTRIES, SPLITS, SOURCES).to_json())
    assert found["training"][0] == {"positive": 2, "negative": 1, "unknown": 1}
    assert found["sources"][0]["source"] == "a"
    assert found["both_present"] == [[2, 1], [1, 1]]
    assert [condition["verdict"] for condition in found["conditions"]] == ["holds", "cannot be told", "cannot be told"]


def test_json_of_a_report_with_problems_names_them():
    problems = Problems("skip")
    problems.report(Kind.BROKEN_IMAGE, Path("labels.csv"), 7, "image a.jpg cannot be used: cut")
    problems.note(Kind.CLIPPED_BOX, Path("boxes.csv"), 2, "clipped")
    found = json.loads(report_of(ENTRIES, problems=problems).to_json())
    assert found["problem_counts"] == {"broken image": 1}
    assert found["problems"] == ["labels.csv:7: image a.jpg cannot be used: cut"]
    assert found["note_counts"] == {"clipped box": 1}


def test_report_on_the_real_table_names_its_known_weaknesses(streetframes, tmp_path):
    """Those that the table's own README names: few labelled negatives of pedestrian, few cars, single-label sources."""
    labels = ["pedestrian", "car", "stop_sign", "traffic_light"]
    table = label_table(csv_table.frames(streetframes, Problems()), labels)
    report = data_report(table, Problems())
    assert report.conditions[0].verdict == "holds"
    assert {
        "pedestrian has few known negatives: 323 (fewer than 500).",
        "car has few known positives: 398 (fewer than 500).",
    } <= set(report.warnings)
    assert any("stop_rf_faridd stop_sign is present in all 182" in warning for warning in report.warnings)
    save_html(report, table, tmp_path / "report.html")
    assert len(Page(tmp_path / "report.html").references) > 4 * 2 * 10
