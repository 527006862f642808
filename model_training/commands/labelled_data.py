"""The data that a command is given, read while a person sees that it takes its time."""

from pathlib import Path

from rich.console import Console

from model_training import data_description
from model_training.label_table import LabelTable
from model_training.sources.problems import Problems
from model_training.tracking import tracked_on


def read(path: Path, console: Console) -> tuple[LabelTable, Problems]:
    """The label table that DATA stands for, and what was wrong with its files; raises what `data_description` does."""
    return data_description.load(path, tracked_on(console))
