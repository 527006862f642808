"""Small label tables for tests."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from model_training.label_table import LabelTable


def table_of(
    entries: Sequence[Sequence[int]],
    labels: Sequence[str] | None = None,
    images: Sequence[Path] | None = None,
    **columns: Sequence[object],
) -> LabelTable:
    """A table with one row per element of `entries`; what is not given is alike in all rows, each its own scene."""
    count = len(entries)
    plain = {
        "boxes": ({},) * count,
        "sources": ("s",) * count,
        "groups": tuple(f"g{row}" for row in range(count)),
        "splits": ("train",) * count,
        "licences": ("CC0-1.0",) * count,
    }
    return LabelTable(
        labels=tuple(labels or "abcdef"[: len(entries[0])]),
        entries_NL=np.array(entries, np.int8),
        images=tuple(images or (Path(f"{row}.png") for row in range(count))),
        **{name: tuple(columns.get(name, column)) for name, column in plain.items()},  # type: ignore[arg-type]
    )
