"""Everybody is measured in every round, and who fails does not stop the others."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.serving import rounds
from benchmarks.serving.closed_loop import GeneratorFailed, Load
from benchmarks.serving.contenders import Contender
from benchmarks.serving.plan import QUICK
from benchmarks.serving.processes import MARK, MarkedProcesses
from benchmarks.serving.rounds import Record, Setting, run_rounds
from benchmarks.serving.servers import ServerFailed, free_ports, started
from tests.benchmarks.serving.answering_contenders import answering

LOAD = Load(1.0, 10, 0, 0, 1.0, 1.0, 1.0, 0.1, 0.1)


class FakeLoop:
    """In the place of the load generator: knows who was loaded; the n-th load fails where it is told to."""

    def __init__(self, failing: tuple[int, ...] = (), found: Load = LOAD) -> None:
        self.failing, self.found, self.count = failing, found, 0

    def __call__(self, *_: object) -> Load:
        self.count += 1
        if self.count in self.failing:
            raise GeneratorFailed("wrk ended with 1")
        return self.found


def setting(tmp_path: Path, *contenders: Contender) -> Setting:
    """One size, two numbers of clients, two rounds of the key cells."""
    plan = replace(QUICK, key_rounds=2)
    expected = {"float32": [{"red": 0.25}]}
    frames = {plan.key_size: [b"frame"]}
    return Setting(tmp_path, tmp_path, frames, tmp_path, 2, contenders, False, plan, expected, lambda said: None)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Idleness has its own test."""
    monkeypatch.setattr(MarkedProcesses, "wait_until_idle", lambda *_: True)


def run(tmp_path: Path, *contenders: Contender) -> Record:
    record = Record()
    run_rounds(setting(tmp_path, *contenders), "raw", record, random.Random(0))
    return record


def test_everybody_is_measured_once_in_each_cell_of_each_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "closed_loop", FakeLoop())
    record = run(tmp_path, answering("a"), answering("b"))
    seen = [(one.contender, one.cell.clients, one.round) for one in record.measurements]
    assert sorted(seen) == sorted((name, clients, turn) for name in "ab" for clients in (1, 16) for turn in (0, 1))
    assert record.problems == []
    assert all(start.difference == 0 for start in record.starts)
    # Cells follow each other; within a cell all contenders do.
    assert [entry[1:] for entry in seen[::2]] == [entry[1:] for entry in seen[1::2]]


def test_server_that_cannot_start_or_answers_wrong_is_told_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "closed_loop", FakeLoop())
    record = run(tmp_path, answering("good"), answering("ending", "ends"), answering("lying", "lies"))
    assert {one.contender for one in record.measurements} == {"good"}
    assert len(record.problems) == 4, "each is started twice"
    told = "\n".join(record.problems)
    assert "ending, raw: it ended with 1\nit cannot start" in told
    assert "lying, raw: its probabilities are off by 0.65; allowed are 0.0001" in told


def test_failed_measurement_is_made_again_after_another_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Load 1 warms up, 2 fails, 3 warms up again; all four measurements are there."""
    monkeypatch.setattr(rounds, "closed_loop", FakeLoop(failing=(2,)))
    record = run(tmp_path, answering("a"))
    assert [(one.round, one.cell.clients) for one in record.measurements] == [(0, 1), (0, 16), (1, 1), (1, 16)]
    assert record.problems == ["a, raw: wrk ended with 1"]
    assert len(record.starts) == 2


def test_server_that_answers_nothing_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Load(1.0, 0, 7, 3, 1.0, 1.0, 1.0, 0.1, 0.1)
    monkeypatch.setattr(rounds, "closed_loop", FakeLoop(found=nothing))
    record = run(tmp_path, answering("a"))
    assert record.measurements == []
    assert "no frame was answered (7 refused, 3 failed)" in record.problems[0]


def test_nothing_is_left_of_a_server(tmp_path: Path) -> None:
    with started(answering("a"), Path(), tmp_path, 1, "raw") as server:
        assert server.wait_until_ready(b"frame") > 0
        assert server.process.pid in server.processes.pids()
        server.processes.freeze()
        server.wake(b"frame")
        assert server.answer(b"frame") == {"red": 0.25}
    assert server.processes.pids() == []
    assert server.process.returncode is not None


def test_variables_of_the_caller_do_not_set_servers_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROADCUE_WORKERS", "7")
    monkeypatch.setenv("MLSERVER_DEBUG", "true")
    with started(answering("a"), Path(), tmp_path, 1, "raw") as server:
        server.wait_until_ready(b"frame")
        environment = Path(f"/proc/{server.process.pid}/environ").read_bytes()
    assert b"ROADCUE_WORKERS" not in environment
    assert b"MLSERVER_DEBUG" not in environment
    assert MARK.encode() in environment


def test_failures_are_told_without_the_colours_of_a_terminal(tmp_path: Path) -> None:
    with started(answering("a"), Path(), tmp_path, 1, "raw") as server:
        server.wait_until_ready(b"frame")
        server.log.write_text("\x1b[36m(replica)\x1b[0m started\x1b[1;31m!\x1b[0m")
        assert str(server.failure("it failed")) == "a, raw: it failed\n(replica) started!"


def test_who_does_not_come_back_from_a_pause_was_paused_by_the_benchmark(tmp_path: Path) -> None:
    with started(answering("a"), Path(), tmp_path, 1, "raw") as server:
        server.wait_until_ready(b"frame")
        server.processes.end()
        with pytest.raises(ServerFailed, match=r"after this benchmark stopped it for a while \(SIGSTOP\)"):
            server.wake(b"frame")


def test_ended_server_does_not_answer(tmp_path: Path) -> None:
    with started(answering("a"), Path(), tmp_path, 1, "raw") as server:
        server.wait_until_ready(b"frame")
        server.processes.end()
        with pytest.raises(ServerFailed, match="a, raw: no answer"):
            server.answer(b"frame")


def test_ports_are_free_and_in_a_row() -> None:
    assert 1024 <= free_ports(3) < 65533
