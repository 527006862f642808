"""A model file is measured on test rows while a person sees how far that is."""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from model_training import data_description
from model_training.commands.measured_file import measured
from tests.model_training.painted_frames import write_painted_frames
from tests.tiny_model import write_tiny_model

Item = TypeVar("Item")


def test_batches_of_test_rows_are_tracked(tmp_path: Path) -> None:
    """18 test rows are two batches of at most 16."""
    folder = write_painted_frames(tmp_path / "data", count=4, test=18)
    (folder / "data.toml").write_text('labels = ["red", "green"]\n[[sources]]\nformat = "table"\npath = "."\n')
    table, _ = data_description.load(folder / "data.toml")
    seen: list[tuple[str, int]] = []

    def tracking(items: Iterable[Item], description: str, total: int) -> Iterable[Item]:
        seen.append((description, total))
        return items

    found = measured(write_tiny_model(tmp_path / "tiny.onnx"), table, {"gallery": ("gallery",)}, tracking)
    assert seen == [("float32 on test rows", 2)]
    assert {figure.test_set for figure in found} == {"gallery"}
