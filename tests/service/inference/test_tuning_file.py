"""Figures of plans on disk."""

import json
from pathlib import Path
from typing import Any

import pytest

from service.errors import TuningFileUnusable
from service.inference.execution import ExecutionPlan
from service.inference.machine import Machine
from service.inference.tuning import LeftOut, Measurements, PlanFigures
from service.inference.tuning_file import read_tuning_file, write_tuning_file

MACHINE = Machine(
    model="tiny 0.0.1",
    model_sha256="ab" * 32,
    precision="int8",
    provider="CPUExecutionProvider",
    cpu="Fast CPU",
    cpus=2,
    gpus=(),
    roadcue="0.1.0",
    onnxruntime="1.31.1",
)
FIGURES = PlanFigures(
    plan=ExecutionPlan(2, 1, (1, 2, 4)),
    frames_per_s=123.4,
    relative_speed=1.0,
    latency_p50_ms=8.5,
    latency_p99_ms=12.25,
    cpu_s_per_frame=0.0081,
    frames=500,
    rounds=5,
)
MEASUREMENTS = Measurements(
    figures=(FIGURES,),
    left_out=(LeftOut(plan=ExecutionPlan(1, 2), reason="it fails"),),
    frame="a made street",
    seconds=29.9,
)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "tuning.json"
    write_tuning_file(path, MACHINE, MEASUREMENTS)
    return path


def changed(path: Path, **members: Any) -> Path:
    path.write_text(json.dumps(json.loads(path.read_text()) | members))
    return path


def test_what_was_written_is_read_again(saved: Path) -> None:
    file = read_tuning_file(saved)
    assert (file.machine, file.measurements) == (MACHINE, MEASUREMENTS)


def test_a_person_can_read_it(saved: Path) -> None:
    document = json.loads(saved.read_text())
    assert document["schema_version"] == 1
    assert document["machine"]["cpu"] == "Fast CPU"
    assert document["measurements"]["figures"][0]["plan"] == {
        "inference_workers": 2,
        "threads_per_worker": 1,
        "batch_sizes": [1, 2, 4],
        "cuda_graphs": False,
    }


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TuningFileUnusable, match=r"absent\.json cannot be read: No such file"):
        read_tuning_file(tmp_path / "absent.json")


def test_a_folder_that_is_not_there_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(TuningFileUnusable, match="cannot be written: No such file"):
        write_tuning_file(tmp_path / "absent" / "tuning.json", MACHINE, MEASUREMENTS)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b""])
def test_what_is_not_json_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tuning.json").write_bytes(content)
    with pytest.raises(TuningFileUnusable, match=r"is not JSON .* write it again: roadcue benchmark --save"):
        read_tuning_file(tmp_path / "tuning.json")


def test_another_schema_is_refused(saved: Path) -> None:
    with pytest.raises(TuningFileUnusable, match="has schema 2; this version of roadcue reads schema 1"):
        read_tuning_file(changed(saved, schema_version=2))


@pytest.mark.parametrize("document", ["[]", "null", "{}"])
def test_json_of_something_else_is_refused(tmp_path: Path, document: str) -> None:
    (tmp_path / "tuning.json").write_text(document)
    with pytest.raises(TuningFileUnusable, match="has schema None"):
        read_tuning_file(tmp_path / "tuning.json")


def test_what_is_wrong_is_named(saved: Path) -> None:
    wrong = {"figures": [], "frame": "x", "seconds": -1}
    with pytest.raises(TuningFileUnusable, match=r"is not valid: measurements\.seconds: Input should be greater"):
        read_tuning_file(changed(saved, measurements=wrong))


def test_a_plan_that_cannot_be_is_refused(saved: Path) -> None:
    document = json.loads(saved.read_text())
    document["measurements"]["figures"][0]["plan"]["inference_workers"] = 0
    saved.write_text(json.dumps(document))
    with pytest.raises(TuningFileUnusable, match="a plan has 0 workers"):
        read_tuning_file(saved)
