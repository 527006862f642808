"""The benchmark for GPUs goes through all of it on the CPU; no speed is asserted."""

import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.gpu import Round, answered_meanwhile, main, rate_of, section
from benchmarks.soak.crowd import Crowd
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


class AnsweredTwice(Crowd):
    """Each client is answered at once and once more later, then told to come back in an hour."""

    async def stay(self, until: Callable[[], bool], pause_s: float = 0.0, longest_pause_s: float = 0.0) -> None:
        for seconds in (0.1, 3600):
            self.statuses["200"] += 1
            await asyncio.sleep(seconds)


def test_what_was_answered_before_does_not_count_and_who_waits_is_not_waited_for() -> None:
    """Coming up to speed takes 0.04 s; the second answers come within the 0.2 s after it."""
    crowd = AnsweredTwice(1, b"", random.Random(0))
    answered, lasted_s = asyncio.run(answered_meanwhile(crowd, clients=3, seconds=0.2))
    assert (answered, crowd.statuses["200"]) == (3, 6)
    assert 0.19 < lasted_s < 3600


def test_page_tells_the_medians_and_what_is_asked() -> None:
    rounds = [
        {"decoding": 300.0, "session": {"batches of 1": 200.0}, "service": rate} for rate in (150.0, 170.0, 190.0)
    ]
    report = {"command": "python -m benchmarks.gpu", "date": "2026-01-02", "gpus": ["A GPU"], "machine": "8 cores"}
    told = section({**report, "rounds": rounds})
    assert "2026-01-02, A GPU, 8 cores. Over 3 rounds the service answers 0.85 of the limit; 0.8 is reached." in told
    table = "| all CPUs decoding | 300.0 |\n| session alone, batches of 1 | 200.0 |\n| service | 170.0 |"
    assert told.endswith(f"| frames/s | median |\n| --- | --- |\n{table}")


def test_all_of_it_runs_and_is_written_down(tmp_path: Path) -> None:
    model, output = write_tiny_model(tmp_path / "tiny.onnx"), tmp_path / "gpu.json"
    flags = ["--model", str(model), "--device", "cpu", "--rounds", "2", "--seconds", "0.2", "--clients", "3"]
    done = CliRunner().invoke(main, [*flags, "--output", str(output)])
    assert done.exit_code == 0, done.output
    report = json.loads(output.read_text())
    assert report["gpus"] == []
    for one in report["rounds"]:
        assert set(one["session"]) == {f"batches of {size}" for size in (16, 1, 4, 32, "all sizes in turn")}
        assert one["limit"] == min(one["decoding"], max(one["session"].values())) > 0
        assert one["share"] == one["service"] / one["limit"] > 0
    assert not (tmp_path / "RESULTS.md").exists()
    assert "of the limit; 0.8 is" in " ".join(done.output.split())
