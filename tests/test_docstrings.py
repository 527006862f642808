"""What a docstring shows as an example is what comes out."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("service", "model_training", "benchmarks")


def modules_with_examples() -> list[str]:
    """Their dotted names."""
    files = (file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py")))
    shown = (file.relative_to(ROOT) for file in files if ">>> " in file.read_text(encoding="utf-8"))
    return [".".join(file.with_suffix("").parts) for file in shown]


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_come_out_as_they_are_shown(name: str) -> None:
    seen = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert seen.attempted > 0
    assert seen.failed == 0
