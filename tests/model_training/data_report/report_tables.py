"""Label tables of which the tests of the data report make reports."""

from pathlib import Path

import numpy as np

from model_training.data_report.counts import data_report
from model_training.label_table import LabelTable
from model_training.sources.problems import Problems

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
