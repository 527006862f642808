import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from model_training.data_report import Entries, data_report, print_report, save_html
from model_training.label_table import LabelTable, label_table
from model_training.sources import csv_table
from model_training.sources.annotated_frame import AnnotatedFrame
from model_training.sources.problems import Kind, Problems
from tests.model_training.images import write_image

# Rows of (car, stop sign), by hand; the last two are test.
ENTRIES = [[1, 1], [1, 0], [0, -1], [-1, 0], [1, -1], [0, 0]]
SPLITS = ["train", "train", "", "train", "test", "test"]
SOURCES = ["a", "a", "b", "b", "a", "c"]


def table_of(entries, splits=None, sources=None, labels=("car", "stop_sign"), images=None, boxes=None):
    count = len(entries)
    return LabelTable(
        labels=labels,
        entries_NL=np.array(entries, np.int8),
        images=tuple(images or (Path(f"{i}.jpg") for i in range(count))),
        boxes=tuple(boxes or [{}] * count),
        sources=tuple(sources or ["a"] * count),
        groups=tuple(f"g{i}" for i in range(count)),
        splits=tuple(splits or ["train"] * count),
        licences=("CC0-1.0",) * count,
    )


def report_of(*args, problems=None, **more):
    return data_report(table_of(*args, **more), problems or Problems())


def printed(report):
    console = Console(file=io.StringIO(), width=200)
    print_report(report, console)
    return console.file.getvalue()


class Page(HTMLParser):
    """What a page refers to, and its text."""

    def __init__(self, path):
        super().__init__()
        self.references, self.words, self.open = [], [], []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        self.references += [value for name, value in attributes if name in ("src", "href", "srcset")]
        self.open += [tag] if tag not in ("meta", "img", "source") else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def page_of(table, path, problems=None):
    save_html(data_report(table, problems or Problems()), table, path)
    return Page(path)


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


def test_conflicts_problems_and_notes_are_counted_and_listed(tmp_path):
    image = write_image(tmp_path / "a.png")
    frames = [AnnotatedFrame(image, {"car": entry}, name, "g") for entry, name in ((1, "a"), (0, "b"))]
    problems = Problems("skip")
    problems.report(Kind.BAD_VALUE, Path("labels.csv"), 7, "car is 'yes'")
    report = data_report(label_table(frames, ["car"], problems=problems), problems)
    assert report.conflicts == (f"{image}: car is present in a and absent in b",)
    assert report.problem_counts == {"bad value": 1}
    assert report.problems == ("labels.csv:7: car is 'yes'",)
    assert report.note_counts == {"same frame twice": 1}
    assert "1 conflicting entries became unknown\n1 skipped: bad value\n1 noted: same frame twice" in printed(report)


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


def test_print_says_everything_on_the_terminal():
    text = printed(report_of(ENTRIES, SPLITS, SOURCES))
    assert "4 frames for training and 2 for test, in 6 scenes" in text
    assert re.search(r"car\s+│\s+3 │\s+2 │\s+1 │\s+1 │\s+1 │\s+1 │", text)
    assert re.search(r"stop_sign\s+│\s+1 / 2 │\s+1 / 3 │", text)
    assert "Similar amounts of data per label: holds. " in text
    assert "Shared low-level features: cannot be told. " in text
    assert "warning car has few known positives: 2" in text


def test_terminal_says_known_positive_negative_and_unknown_per_source_and_label():
    """By hand: b has one row for training that is split by nobody, and knows no car in it and nothing on stop signs."""
    text = re.sub(r"[^\w\s():+]", "", printed(report_of(ENTRIES, SPLITS, SOURCES)))
    found = text[text.index("Entries per source") : text.index("Both present")]
    rows = [re.split(r"\s{2,}", line.strip()) for line in found.splitlines() if line.strip()][2:]
    assert rows[:4] == [
        ["a", "car", "2", "2", "0", "0"],
        ["frames (train): 2", "stop_sign", "2", "1", "1", "0"],
        ["scenes: 2"],
        ["with boxes: 0"],
    ]
    assert rows[4:8] == [
        ["b", "car", "1", "0", "1", "0"],
        ["frames (unstated): 1", "stop_sign", "0", "0", "0", "1"],
        ["scenes: 1"],
        ["with boxes: 0"],
    ]


def test_page_says_known_positive_negative_and_unknown_per_source_and_label(tmp_path):
    images = [write_image(tmp_path / f"{i}.png", i) for i in range(6)]
    page = page_of(table_of(ENTRIES, SPLITS, SOURCES, images=images), tmp_path / "report.html")
    told = [word for word in page.words if re.fullmatch(r"\d known, \d unknown", word)]
    assert told[:4] == [
        "2 known, 0 unknown",
        "2 known, 0 unknown",
        "1 known, 0 unknown",
        "0 known, 1 unknown",
    ]


def test_names_with_brackets_are_not_taken_for_markup():
    assert "In [red]x car is present" in printed(report_of([[1]] * 20, sources=["[red]x"] * 20, labels=("car",)))


def test_page_is_self_contained_and_well_formed(tmp_path):
    images = [write_image(tmp_path / f"{i}.png", i) for i in range(6)]
    page = page_of(table_of(ENTRIES, SPLITS, SOURCES, images=images), tmp_path / "report.html")
    assert page.open == []
    assert all(reference.startswith("data:image/") for reference in page.references)
    assert "url(" not in (tmp_path / "report.html").read_text()
    assert {"Entries per label", "Labels together", "Pictures: car", "Pictures: stop_sign"} <= set(page.words)


def test_contact_sheets_show_only_frames_for_training(tmp_path):
    """car is present in rows 0 and 1 and absent in 2; stop signs in 0, and absent in 1 and 3."""
    images = [write_image(tmp_path / f"{i}.png", i) for i in range(6)]
    page = page_of(table_of(ENTRIES, SPLITS, SOURCES, images=images), tmp_path / "report.html")
    captions = [word for word in page.words if re.fullmatch(r"\d\.png, \w", word)]
    assert captions == ["0.png, a", "1.png, a", "2.png, b", "0.png, a", "1.png, a", "3.png, b"]


def test_contact_sheet_shows_every_source_though_one_is_large(tmp_path):
    images = [write_image(tmp_path / f"{i}.png", i) for i in range(41)]
    table = table_of([[1]] * 41, sources=["film"] * 40 + ["rare"], labels=("car",), images=images)
    captions = [word for word in page_of(table, tmp_path / "report.html").words if ".png, " in word]
    assert len(captions) == 12
    assert "40.png, rare" in captions


def test_picture_that_cannot_be_read_is_left_out(tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_text("no image")
    images = [broken, write_image(tmp_path / "fine.png")]
    page = page_of(table_of([[1], [1]], labels=("car",), images=images), tmp_path / "report.html")
    assert [word for word in page.words if word.endswith(", a")] == ["fine.png, a"]


def test_names_are_escaped_in_the_page(tmp_path):
    images = [write_image(tmp_path / "<script>.png")]
    problems = Problems("skip")
    problems.report(Kind.BAD_VALUE, Path("a<b>.csv"), 1, "<script>alert(1)</script>")
    page_of(table_of([[1]], labels=("car",), images=images, sources=["<b>"]), tmp_path / "report.html", problems)
    assert "<script>" not in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("entries", [[[-1, -1]] * 2, [[1, 1]]])
def test_page_of_sparse_data_is_written_without_a_warning(tmp_path, entries):
    images = [write_image(tmp_path / f"{i}.png", i) for i in range(len(entries))]
    page = page_of(table_of(entries, ["test"] * len(entries), images=images), tmp_path / "report.html")
    assert page.open == []


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
