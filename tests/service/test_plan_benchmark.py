"""`roadcue benchmark`, run as a person runs it."""

import json
import re
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from service.cli import main, roadcue
from service.inference.tuning_file import read_tuning_file
from tests.service.command_process import on_a_terminal
from tests.service.conftest import encoded
from tests.service.server_process import ServerProcess

PINNED = ("--inference-workers", "1", "--max-batch-frames", "1")


@pytest.fixture(autouse=True)
def _undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else runs on the machine of the tests."""
    monkeypatch.setattr("service.inference.tuning.LEAST_CPU_SHARE", 0.0)


def benchmark(model: Path, *arguments: object) -> Result:
    """Runs roadcue benchmark with the tiny model for a second."""
    flags = ["benchmark", "--model", str(model), "--device", "cpu", "--seconds", "1"]
    return CliRunner().invoke(roadcue, [*flags, *map(str, arguments)])


def test_in_a_pipe_it_writes_json(model: Path) -> None:
    result = benchmark(model, *PINNED)
    document = json.loads(result.stdout)
    execution = document["execution"]
    assert result.exit_code == 0
    assert document["machine"]["model"] == "tiny 0.0.1"
    assert execution["origin"] == "measured"
    figures = execution["measurements"]["figures"]
    assert execution["plan"] in [one["plan"] for one in figures]
    assert figures[0]["frames_per_s"] > 0
    assert "Next: roadcue benchmark --save tuning.json" in result.stderr


def test_the_table_has_a_row_for_each_plan_and_the_choice(model: Path) -> None:
    """One worker of one thread without batches is one plan."""
    result = benchmark(model, *PINNED, "--threads-per-worker", "1", "--format", "table")
    assert re.search(
        r"^ *workers +threads +batch +frames/s +relative +p50 ms +p99 ms +CPU ms +frames", result.stdout, re.MULTILINE
    )
    assert re.search(r"^ *1 +1 +1 +[\d.]+ +1\.00 +[\d.]+ +[\d.]+ +[\d.]+ +\d+", result.stdout, re.MULTILINE)
    assert "chosen: 1 worker x 1 thread (the only one that was measured)" in result.stdout
    assert "decoding included, HTTP not" in result.stdout


def test_a_person_sees_its_seconds_go_by(model: Path) -> None:
    """On standard error; where that is no terminal, nothing but the next step is said."""
    flags = ("benchmark", "--model", model, "--device", "cpu", "--seconds", "1", *PINNED)
    code, seen, document = on_a_terminal("service", *flags, stream="stderr")
    assert (code, json.loads(document)["execution"]["origin"]) == (0, "measured")
    assert re.search(r"measuring \d+ plans ━+ +\d of 1 s", seen)
    assert benchmark(model, *PINNED).stderr.startswith("Next: ")


def test_the_saved_figures_are_what_the_service_starts_with(model: Path, tmp_path: Path) -> None:
    """As both documents say: `roadcue benchmark --save`, then `roadcue serve --tuning`."""
    file = tmp_path / "tuning.json"
    benchmark(model, *PINNED, "--save", file)
    server = ServerProcess("--model", str(model), "--device", "cpu", "--tuning", str(file))
    try:
        execution = httpx.get(f"{server.ready().url}/model").json()["execution"]
    finally:
        server.kill()
    assert execution["origin"] == "file"
    assert execution["measurements"] == read_tuning_file(file).measurements.model_dump(mode="json")


def test_frames_of_ones_own_are_measured_with(model: Path, tmp_path: Path) -> None:
    for name, form in (("a.png", "PNG"), ("b.jpg", "JPEG")):
        (tmp_path / name).write_bytes(encoded(1, 2, 3, form=form))
    result = benchmark(model, *PINNED, "--frame", tmp_path / "a.png", "--frame", tmp_path / "b.jpg")
    assert json.loads(result.stdout)["execution"]["measurements"]["frame"] == "a.png, b.jpg"


def test_a_saved_file_is_read_again_and_not_overwritten(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tuning.json"
    result = benchmark(model, *PINNED, "--save", file)
    assert f"Next: roadcue serve --tuning {file}" in result.stderr
    written = read_tuning_file(file)
    assert written.machine.model == "tiny 0.0.1"
    assert [one.plan.inference_workers for one in written.measurements.figures] == [1] * len(
        written.measurements.figures
    )
    with pytest.raises(SystemExit) as ended:
        main(["benchmark", "--model", str(model), "--save", str(file)])
    assert ended.value.code == 1
    assert f"Error: {file} is there already; name another file, or add --overwrite" in capsys.readouterr().err
    assert read_tuning_file(file) == written
    benchmark(model, *PINNED, "--save", file, "--overwrite")
    assert read_tuning_file(file).measurements != written.measurements


def test_figures_that_other_programs_disturbed_are_not_saved(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No plan can get more than all CPUs: asked for twice as much, every run is disturbed."""
    monkeypatch.setattr("service.inference.tuning.LEAST_CPU_SHARE", 2.0)
    result = benchmark(model, *PINNED, "--save", tmp_path / "tuning.json")
    assert result.exit_code == 1
    assert "was not written: the figures tell nothing: other programs were busy" in result.stderr
    assert json.loads(result.stdout)["execution"]["reason"].startswith("the figures tell nothing")
    assert not (tmp_path / "tuning.json").exists()


def test_figures_under_a_quota_of_a_part_of_a_cpu_are_saved(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice as much as all CPUs is asked for again, but of a hundredth of one any run gets more."""
    monkeypatch.setattr("service.inference.tuning.LEAST_CPU_SHARE", 2.0)
    monkeypatch.setattr("service.plan_choice.granted_cpus", lambda: 0.01)
    assert benchmark(model, *PINNED, "--save", tmp_path / "tuning.json").exit_code == 0
    assert (tmp_path / "tuning.json").exists()


@pytest.mark.parametrize("content", [b"no image", b""])
def test_a_frame_that_cannot_be_answered_is_one_line_and_code_1(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        main(["benchmark", "--model", str(model), "--device", "cpu", "--frame", str(tmp_path / "a.jpg")])
    assert ended.value.code == 1
    assert f"Error: {tmp_path / 'a.jpg'} cannot be measured with: " in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--seconds", "0"], ["--frame", "/absent.jpg"], ["--format", "csv"]])
def test_wrong_arguments_end_with_code_2(model: Path, arguments: list[str]) -> None:
    assert benchmark(model, *arguments).exit_code == 2
