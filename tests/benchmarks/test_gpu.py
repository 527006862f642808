"""The benchmark for GPUs goes through all of it on the CPU; no speed is asserted."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.gpu import Round, main, rate_of
from tests.tiny_model import write_tiny_model


def test_the_limit_is_what_the_slower_half_can_do_at_its_best() -> None:
    found = Round(decoding=300.0, session={"batches of 1": 100.0, "batches of 16": 200.0}, service=150.0)
    assert (found.limit, found.share) == (200.0, 0.75)
    assert Round(decoding=50.0, session={"batches of 1": 100.0}, service=45.0).limit == 50.0


def test_a_rate_counts_frames_and_not_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four frames each quarter of a second, for one second, after one call that is not counted."""
    now_s = [0.0]

    def work() -> None:
        now_s[0] += 0.25

    monkeypatch.setattr("benchmarks.gpu.time.monotonic", lambda: now_s[0])
    assert rate_of(work, frames=4, seconds=1.0) == 16.0


def test_all_of_it_runs_and_is_written_down(tmp_path: Path) -> None:
    model, output = write_tiny_model(tmp_path / "tiny.onnx"), tmp_path / "gpu.json"
    flags = ["--model", str(model), "--device", "cpu", "--rounds", "2", "--seconds", "0.2", "--clients", "3"]
    done = CliRunner().invoke(main, [*flags, "--output", str(output)])
    assert done.exit_code == 0, done.output
    report = json.loads(output.read_text())
    assert report["gpus"] == []
    for one in report["rounds"]:
        assert set(one["session"]) == {f"batches of {size}" for size in (16, 1, 4, 32)}
        assert one["limit"] == min(one["decoding"], max(one["session"].values())) > 0
        assert one["share"] == one["service"] / one["limit"] > 0
    assert "of the limit; 0.8 is" in " ".join(done.output.split())
