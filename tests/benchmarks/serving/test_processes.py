"""A server's processes are found wherever they are, counted, frozen and ended."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.serving.processes import MARK, PAGE_BYTES, TICKS_PER_S, MarkedProcesses
from tests.service.server_process import wait_for

# Starts a child in a session of its own, as a daemon does, tells both and waits.
PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, which Linux has")


def write_process(proc: Path, pid: int, mark: str, ticks: tuple[int, int, int, int], pages: int, pss_kib: int) -> None:
    """A process as proc(5) tells it; its name holds what may confuse a reader."""
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "environ").write_bytes(f"HOME=/\0{MARK}={mark}\0PATH=/bin\0".encode())
    times = " ".join(map(str, ticks))
    (folder / "stat").write_text(f"{pid} (a) b (c) S 1 1 1 0 -1 0 0 0 0 0 {times} 20 0 1 0\n")
    (folder / "statm").write_text(f"9999 {pages} 7 1 0 3 0\n")
    (folder / "smaps_rollup").write_text(f"header\nRss: 9999 kB\nPss: {pss_kib} kB\nPss_Dirty: 5 kB\n")


def test_figures_are_those_of_the_marked_ones(tmp_path: Path) -> None:
    """User, system, and both of children that were waited for; a third process belongs to somebody else."""
    write_process(tmp_path, 10, "ours", (100, 20, 3, 4), 50, 600)
    write_process(tmp_path, 12, "ours", (1, 2, 0, 0), 7, 24)
    write_process(tmp_path, 13, "ours too", (1000, 1000, 0, 0), 1000, 1000)
    (tmp_path / "14").mkdir()
    (tmp_path / "self").mkdir()
    found = MarkedProcesses("ours", tmp_path)
    assert found.pids() == [10, 12]
    assert found.cpu_s() == 130 / TICKS_PER_S
    assert found.resident_bytes() == 57 * PAGE_BYTES
    assert found.memory_bytes() == 624 * 1024


def test_each_thread_is_told_with_its_own_time(tmp_path: Path) -> None:
    """User and system; what children took that were waited for is the process's, not a thread's."""
    write_process(tmp_path, 10, "ours", (100, 20, 3, 4), 50, 600)
    (tmp_path / "10" / "task").mkdir()
    write_process(tmp_path / "10" / "task", 10, "ours", (90, 5, 3, 4), 0, 0)
    write_process(tmp_path / "10" / "task", 11, "ours", (10, 15, 3, 4), 0, 0)
    assert MarkedProcesses("ours", tmp_path).thread_cpu_s() == {10: 95 / TICKS_PER_S, 11: 25 / TICKS_PER_S}


def test_rest_is_noticed_and_work_that_does_not_end_too(tmp_path: Path) -> None:
    """The first look sees work, the next none; a process that works on is given up."""
    write_process(tmp_path, 10, "ours", (0, 0, 0, 0), 1, 1)
    found, spent = MarkedProcesses("ours", tmp_path), iter([TICKS_PER_S, TICKS_PER_S, TICKS_PER_S])
    looks: list[float] = []

    def work(seconds: float) -> None:
        looks.append(seconds)
        (tmp_path / "10" / "stat").write_text(f"10 (a) S 1 1 1 0 -1 0 0 0 0 0 {next(spent)} 0 0 0 20\n")

    assert found.wait_until_idle(10, work)
    assert len(looks) == 2
    growing = iter(range(10 * TICKS_PER_S, 1000 * TICKS_PER_S, TICKS_PER_S))
    spent = growing
    assert not found.wait_until_idle(1.0, work)


def test_detached_process_is_frozen_and_ended_with_the_others() -> None:
    environment = {**os.environ, MARK: f"test-{os.getpid()}"}
    parent = subprocess.Popen([sys.executable, "-c", PARENT], env=environment, stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    pids = sorted(map(int, parent.stdout.readline().split()))
    found = MarkedProcesses(environment[MARK])
    try:
        # For a moment, while it becomes its own program, the child shows no environment.
        wait_for(lambda: sorted(found.pids()) == pids)
        found.freeze()
        assert {state(pid) for pid in pids} == {"T"}
        found.thaw()
        assert "T" not in {state(pid) for pid in pids}
    finally:
        found.end()
        parent.wait(10)
        parent.stdout.close()
    assert found.pids() == []


def state(pid: int) -> str:
    """The letter of proc(5), once it is no longer on its way."""
    for _ in range(100):
        letter = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        if letter in "TS":
            return letter
        time.sleep(0.01)
    return letter
