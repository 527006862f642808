"""Where the service's time goes under load, in a run of its own: CPU time by thread, and the functions that hold most.

What each thread took is read from /proc around a load that nobody samples, right after the in-process loop. Then
py-spy samples a second load. Functions are those of Python: what a library computes is held by the function that calls
it.
"""

import json
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.serving.contenders import Contender
from benchmarks.serving.environments import environment
from benchmarks.serving.in_process import InProcessLoop
from benchmarks.serving.processes import MarkedProcesses
from benchmarks.serving.rounds import IDLE_PATIENCE_S, Record, Setting, load, ready
from benchmarks.serving.servers import Server, ServerFailed

CLIENTS: Final = 16
SAMPLES_PER_S: Final = 200
TOP: Final = 15
PATIENCE_S: Final = 30
EVENT_LOOP, FRAME_WORKERS, OTHERS = "event loop", "frame workers", "others"


@dataclass(frozen=True, slots=True)
class ThreadCpu:
    """CPU ms of an answered frame: of the service by group of threads, of the in-process loop right before."""

    groups: dict[str, float]
    in_process: float


@dataclass(frozen=True, slots=True)
class Profile:
    """`functions` are the innermost ones and their share of the busy samples, most first."""

    functions: list[tuple[str, float]]
    cpu: ThreadCpu


def run_profile(setting: Setting, contender: Contender, record: Record) -> Profile:
    """Both looks at one start of the service. Raises one of FAILURES."""
    py_spy = environment("profiler", setting.cache) / "py-spy"
    with ready(setting, contender, "raw", record) as server, TemporaryDirectory() as folder:
        cpu, output = _thread_cpu(py_spy, server, setting), Path(folder) / "stacks.txt"
        _sample(py_spy, server, setting, output)
        return Profile(shares(output.read_text(encoding="utf-8")), cpu)


def _thread_cpu(py_spy: Path, server: Server, setting: Setting) -> ThreadCpu:
    seconds, names = setting.plan.profile_seconds, _thread_names(py_spy, server.processes)
    with InProcessLoop(setting.model) as loop:
        in_process = loop.measure(setting.key_frames, min(CLIENTS, setting.workers), seconds)
    before_s = server.processes.thread_cpu_s()
    answered = load(server, setting.key_frames, CLIENTS, seconds).answered
    after_s = server.processes.thread_cpu_s()
    if not answered:
        raise server.failure("no frame was answered")
    server.processes.wait_until_idle(IDLE_PATIENCE_S)
    spent_s = {thread: second - before_s.get(thread, 0.0) for thread, second in after_s.items()}
    groups = {group: 1000 * second / answered for group, second in by_group(spent_s, names).items()}
    return ThreadCpu(groups, in_process.service_cpu_ms_per_frame)


def _thread_names(py_spy: Path, processes: MarkedProcesses) -> dict[int, str]:
    """Python's names of the threads, by their id: the kernel does not know them before Python 3.14."""
    dumps = (_run([str(py_spy), "dump", "--json", "--pid", str(pid)]) for pid in processes.pids())
    return {thread["os_thread_id"]: thread["thread_name"] or "" for dump in dumps for thread in json.loads(dump)}


def _run(command: list[str]) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE_S).stdout  # noqa: S603
    except subprocess.SubprocessError as problem:
        raise ServerFailed(f"py-spy: {problem}; it said {getattr(problem, 'stderr', '')!r}") from problem


def by_group(spent_s: Mapping[int, float], names: Mapping[int, str]) -> dict[str, float]:
    """Seconds of all threads of a group.

    >>> by_group({7: 1.0, 8: 4.0, 9: 5.0, 10: 0.5}, {7: "MainThread", 8: "frames-0", 9: "frames-1"})
    {'event loop': 1.0, 'frame workers': 9.0, 'others': 0.5}
    """
    found = dict.fromkeys((EVENT_LOOP, FRAME_WORKERS, OTHERS), 0.0)
    for thread, second in spent_s.items():
        found[_group(names.get(thread, ""))] += second
    return found


def _group(name: str) -> str:
    if name == "MainThread":
        return EVENT_LOOP
    return FRAME_WORKERS if name.startswith("frames-") else OTHERS


def _sample(py_spy: Path, server: Server, setting: Setting, output: Path) -> None:
    seconds = setting.plan.profile_seconds
    command = [str(py_spy), "record", "--pid", str(server.process.pid), "--subprocesses"]
    command += ["--rate", str(SAMPLES_PER_S), "--duration", str(seconds), "--format", "raw", "--output", str(output)]
    sampler = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # noqa: S603
    try:
        load(server, setting.key_frames, CLIENTS, seconds + 2)
        said, _ = sampler.communicate(timeout=PATIENCE_S)
    finally:
        sampler.kill()
        sampler.wait()
    if sampler.returncode or not output.exists():
        raise ServerFailed(f"py-spy ended with {sampler.returncode}: {said[-500:]}")


def shares(stacks: str) -> list[tuple[str, float]]:
    """Of lines like `outer;inner 12`, what each innermost function holds, most first.

    >>> shares("a;b 3\\na;c (x.py:7) 1\\n")
    [('b', 0.75), ('c (x.py)', 0.25)]
    """
    counts: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, samples = line.rpartition(" ")
        function, _, place = stack.rpartition(";")[2].partition(" (")
        file = place.rstrip(")").partition(":")[0]
        counts[f"{function} ({file})" if file else function] += int(samples)
    total = counts.total()
    return [(function, count / total) for function, count in counts.most_common(TOP)]
