"""The processes of one server, wherever it put them: found by a mark that all of them inherit in their environment.

A server may detach its processes from its own session (Ray does), so neither parents nor groups tell whose they are.
Linux only: it reads /proc.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
MARK: Final = "BENCHMARK_MARK"
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
# An idle server still runs timers: below this share of one core it has nothing to do.
IDLE_SHARE: Final = 0.2
IDLE_LOOK_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class MarkedProcesses:
    """Every living process whose environment holds BENCHMARK_MARK=mark."""

    mark: str
    proc: Path = PROC

    def pids(self) -> list[int]:
        """Those that live now, the oldest first."""
        wanted = f"{MARK}={self.mark}".encode()
        return sorted(pid for pid in self._all() if wanted in _read(self.proc / str(pid) / "environ").split(b"\0"))

    def cpu_s(self) -> float:
        """User and system seconds of the living ones, and of those that ended under them and were waited for."""
        return sum(sum(_times(self.proc / str(pid))) for pid in self.pids()) / TICKS_PER_S

    def thread_cpu_s(self) -> dict[int, float]:
        """User and system seconds of each living thread, by its id."""
        tasks = (task for pid in self.pids() for task in (self.proc / str(pid) / "task").iterdir())
        return {int(task.name): sum(_times(task)[:2]) / TICKS_PER_S for task in tasks}

    def memory_bytes(self) -> int:
        """Memory held, where pages that several share count once: the sum of proportional set sizes."""
        return sum(_pss_bytes(_read(self.proc / str(pid) / "smaps_rollup")) for pid in self.pids())

    def resident_bytes(self) -> int:
        """Resident pages, shared ones counted again in each process: cheap enough to look at often."""
        return sum(_pages(_read(self.proc / str(pid) / "statm")) for pid in self.pids()) * PAGE_BYTES

    def freeze(self) -> None:
        """Stop them, so that they take nothing from whoever is measured."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        self._signal(signal.SIGCONT)

    def wait_until_idle(self, patience_s: float, sleep: Callable[[float], None] = time.sleep) -> bool:
        """Whether they came to rest in time: what clients left behind is worked off."""
        before_s = self.cpu_s()
        for _ in range(max(1, round(patience_s / IDLE_LOOK_S))):
            sleep(IDLE_LOOK_S)
            now_s = self.cpu_s()
            if now_s - before_s < IDLE_SHARE * IDLE_LOOK_S:
                return True
            before_s = now_s
        return False

    def end(self, patience_s: float = 5.0) -> None:
        """Ask them to end, and kill what is still there."""
        self._signal(signal.SIGTERM)
        self.thaw()
        end_s = time.monotonic() + patience_s
        while self.pids() and time.monotonic() < end_s:
            time.sleep(0.05)
        while self.pids():
            self._signal(signal.SIGKILL)
            time.sleep(0.05)

    def _all(self) -> Iterator[int]:
        yield from (int(entry.name) for entry in self.proc.iterdir() if entry.name.isdecimal())

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _times(folder: Path) -> list[int]:
    """Ticks of a process or a thread: user, system, and both of children that ended."""
    # proc(5): after the name in brackets come the fields from the third on; 14 to 17 are the times.
    fields = _read(folder / "stat").rpartition(b")")[2].split()
    return list(map(int, fields[11:15]))


def _read(path: Path) -> bytes:
    """What the file holds; nothing where the process has ended or is not ours."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _pages(statm: bytes) -> int:
    return int(statm.split()[1]) if statm else 0


def _pss_bytes(smaps_rollup: bytes) -> int:
    return next((int(line.split()[1]) * 1024 for line in smaps_rollup.splitlines() if line.startswith(b"Pss:")), 0)
