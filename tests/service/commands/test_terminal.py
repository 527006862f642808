"""Results on a real terminal are tables, and nothing else is written there; in a pipe they are JSON."""

from pathlib import Path

import pytest

from service.cli import SUBCOMMANDS
from tests.service.command_process import on_a_terminal
from tests.service.conftest import encoded


def shown(*arguments: object) -> tuple[str, str]:
    """What a command that succeeds writes to the terminal, and to standard error."""
    code, table, said = on_a_terminal("service", *arguments)
    assert code == 0, said
    assert not table.startswith("{")
    return table, said


def test_predict_shows_a_table(model: Path, tmp_path: Path) -> None:
    """204/255 = 0.8 and 51/255 = 0.2."""
    (tmp_path / "frame.png").write_bytes(encoded(204, 51, 0))
    table, said = shown("predict", "--model", model, "--device", "cpu", tmp_path / "frame.png")
    (row,) = (line for line in table.splitlines() if "frame.png" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == [str(tmp_path / "frame.png"), "0.800", "0.200"]
    assert "tiny 0.0.1, float32 on CPUExecutionProvider" in said
    assert "tiny 0.0.1" not in table


def test_inspect_shows_tables(model: Path) -> None:
    table, said = shown("inspect", model)
    assert "12 x 8 pixels" in table
    assert "reproduces" in table
    assert said == ""


def test_benchmark_shows_a_table(model: Path) -> None:
    plan = ("--inference-workers", 1, "--threads-per-worker", 1, "--max-batch-frames", 1)
    table, said = shown("benchmark", "--model", model, "--device", "cpu", "--seconds", 1, *plan)
    assert table.split("\n")[1].split()[:5] == ["workers", "threads", "batch", "frames/s", "relative"]
    assert "chosen: 1 worker x 1 thread" in table
    assert said == "Next: roadcue benchmark --save tuning.json\n"


@pytest.mark.parametrize("name", ["predict", "inspect", "benchmark"])
def test_each_of_them_says_so_in_its_help(name: str) -> None:
    code, text, _ = on_a_terminal("service", name, "--help")
    assert code == 0
    assert name in SUBCOMMANDS
    assert "table on a terminal" in " ".join(text.split())
