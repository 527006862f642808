"""Results on a real terminal are words and tables, and nothing else is written there; in a pipe they are JSON."""

import json
from pathlib import Path

import pytest

from service.inference.artifact import Figure
from tests.model_training.painted_frames import write_painted_frames
from tests.service.command_process import on_a_terminal
from tests.tiny_model import tiny_metadata, write_tiny_model


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_painted_frames(tmp_path_factory.mktemp("terminal") / "data", count=12, test=4)
    (folder / "data.toml").write_text('labels = ["red", "green"]\n[[sources]]\nformat = "table"\npath = "."\n')
    return folder / "data.toml"


def shown(*arguments: object) -> tuple[str, str]:
    """What a command that succeeds writes to the terminal, and to standard error."""
    code, seen, said = on_a_terminal("model_training", *arguments)
    assert code == 0, said
    return seen, said


def test_data_shows_tables(data: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    seen, said = shown("data", data, "--output", page)
    assert seen.startswith("12 frames for training and 4 for test")
    assert "Entries per label" in seen
    assert "Written" not in seen
    assert said == f"Written: {page}\nNext: roadcue-train train {data}\n"


def test_what_a_person_sees_meanwhile_does_not_go_into_the_pipe(data: Path, tmp_path: Path) -> None:
    """Standard error is a terminal here, and standard output is none."""
    page = tmp_path / "page.html"
    code, seen, document = on_a_terminal("model_training", "data", data, "--output", page, stream="stderr")
    assert code == 0, seen
    assert f"reading the frames of {data}" in seen
    assert json.loads(document)["written"] == [str(page)]


def test_evaluate_shows_tables_unless_json_is_asked_for(data: Path, tmp_path: Path) -> None:
    model, page = write_tiny_model(tmp_path / "tiny.onnx"), tmp_path / "page.html"
    asked = ("evaluate", model, data, "--part", "none", "--output", page)
    seen, said = shown(*asked)
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in seen.splitlines() if "gallery" in line]
    assert [row[:3] for row in rows] == [["gallery", label, "4"] for label in ("red", "green")] + [
        ["gallery", "mean", "8"]
    ]
    assert said == f"Written: {page}\nNext: roadcue serve --model {model}\n"
    seen, _ = shown(*asked, "--overwrite", "--format", "json")
    assert {figure["test_set"] for figure in json.loads(seen)["figures"]} == {"gallery"}


def test_reproduces_says_it_in_words(tmp_path: Path) -> None:
    """A file reproduces itself."""
    values = {"metric": "average_precision", "value": 0.8, "low": 0.7, "high": 0.9, "n": 9, "positives": 4}
    figures = tuple(Figure(test_set="road", label=label, **values) for label in ("red", "green"))
    metadata_json = tiny_metadata().model_copy(update={"figures": figures}).model_dump_json()
    model = write_tiny_model(tmp_path / "tiny.onnx", metadata_json=metadata_json)
    seen, said = shown("reproduces", model, model)
    assert seen == (
        "Reproduced: the same data, and all 2 average precisions lie within the published intervals\n"
        "All weights are the same, bit for bit\n"
    )
    assert said == ""
