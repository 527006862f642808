import io
import re
from pathlib import Path

from rich.console import Console

from model_training.data_report.counts import data_report
from model_training.data_report.terminal import print_report
from model_training.label_table import label_table
from model_training.sources.annotated_frame import AnnotatedFrame
from model_training.sources.problems import Kind, Problems
from tests.model_training.data_report.report_tables import ENTRIES, SOURCES, SPLITS, report_of
from tests.model_training.images import write_image


def printed(report):
    console = Console(file=io.StringIO(), width=200)
    print_report(report, console)
    return console.file.getvalue()


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


def test_names_with_brackets_are_not_taken_for_markup():
    assert "In [red]x car is present" in printed(report_of([[1]] * 20, sources=["[red]x"] * 20, labels=("car",)))
