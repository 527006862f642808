"""Uncertain frames to keep, and what a folder of them holds."""

import csv
from collections.abc import Mapping
from pathlib import Path

from service.label_folder.intake import Bounds, UncertainFrame

ROOMY = Bounds(frames=1000, frame_bytes=1_000_000)


def uncertain(content: str, distance: float = 0.5, size: int = 0, **changes: object) -> UncertainFrame:
    """A frame whose bytes are `content` behind the start of a JPEG, filled up to `size` bytes."""
    data = (b"\xff\xd8\xff" + content.encode()).ljust(size, b".")
    about: dict[str, object] = {
        "probabilities": {"car": 0.4, "sign": 0.01},
        "near": {"car": distance},
        "model": "street",
        "model_version": "1.0.0",
        "group": "drive 1",
        "licence": "CC0-1.0",
    }
    return UncertainFrame(data=data, **(about | changes))  # type: ignore[arg-type]


def rows(folder: Path, name: str = "labels.csv") -> list[dict[str, str]]:
    """A table's rows, read by Python's own reader."""
    with (folder / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def contents(folder: Path) -> set[str]:
    """What `uncertain` was given, of every frame that the table lists."""
    return {(folder / row["image"]).read_bytes()[3:].decode().rstrip(".") for row in rows(folder)}


def edited(folder: Path, listed: str, /, **cells: str) -> None:
    """Change cells of a row, as a person with a spreadsheet does."""
    changed = [row | cells if row["image"] == listed else row for row in rows(folder)]
    write(folder, changed)


def write(folder: Path, table: list[Mapping[str, str]] | list[dict[str, str]]) -> None:
    """Write labels.csv anew."""
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
