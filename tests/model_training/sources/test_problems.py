from pathlib import Path

import pytest

from model_training.errors import AnnotationError
from model_training.sources.problems import Kind, Problems

FILE = Path("labels.csv")


def test_stopping_run_raises_the_first_problem_with_file_and_line():
    with pytest.raises(AnnotationError, match=r"labels\.csv:7: car is 'yes'") as raised:
        Problems("stop").report(Kind.BAD_VALUE, FILE, 7, "car is 'yes'")
    assert (raised.value.file, raised.value.line) == (FILE, 7)


def test_skipping_run_keeps_and_counts_every_problem_by_kind():
    problems = Problems("skip")
    for line in (2, 3):
        problems.report(Kind.MISSING_IMAGE, FILE, line, "gone")
    problems.report(Kind.BAD_VALUE, FILE, None, "odd")
    assert problems.counts() == {Kind.MISSING_IMAGE: 2, Kind.BAD_VALUE: 1}
    lines = ["labels.csv:2: gone", "labels.csv:3: gone", "labels.csv: odd"]
    assert [str(problem) for problem in problems.found] == lines


def test_note_never_stops_and_is_counted_apart():
    problems = Problems("stop")
    problems.note(Kind.CLIPPED_BOX, FILE, 3, "clipped")
    assert problems.note_counts() == {Kind.CLIPPED_BOX: 1}
    assert problems.counts() == {}
