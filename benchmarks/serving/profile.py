"""Where the service's time goes under load: samples of py-spy, in a run of its own, the functions that hold most.

Functions are those of Python: what a library computes is held by the function that calls it.
"""

import subprocess
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.serving.contenders import Contender
from benchmarks.serving.environments import environment
from benchmarks.serving.rounds import Record, Setting, load, ready
from benchmarks.serving.servers import Server, ServerFailed

CLIENTS: Final = 16
SAMPLES_PER_S: Final = 200
TOP: Final = 15
PATIENCE_S: Final = 30


def run_profile(setting: Setting, contender: Contender, record: Record) -> list[tuple[str, float]]:
    """The innermost functions and their share of the busy samples, most first. Raises one of FAILURES."""
    programs = environment("profiler", setting.cache)
    with ready(setting, contender, "raw", record) as server, TemporaryDirectory() as folder:
        output = Path(folder) / "stacks.txt"
        _sample(programs, server, setting, output)
        return shares(output.read_text(encoding="utf-8"))


def _sample(programs: Path, server: Server, setting: Setting, output: Path) -> None:
    seconds = setting.plan.profile_seconds
    command = [str(programs / "py-spy"), "record", "--pid", str(server.process.pid), "--subprocesses"]
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
