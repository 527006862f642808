"""What the page of results says in words above its tables is what the runs beside it wrote down."""

import json
import re
import shlex
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from benchmarks.gpu import SECTION, section
from benchmarks.marked_section import section_of
from benchmarks.soak.__main__ import EMPTY
from benchmarks.startup import CLIENTS, PINNED


@pytest.fixture
def page(repository: Path) -> str:
    """In one line, so that it may be wrapped anywhere."""
    return " ".join((repository / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8").split())


def run(repository: Path, name: str) -> Any:
    return json.loads((repository / "benchmarks" / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["soak", "shutdown", "startup"])
def test_every_run_names_its_machine_and_versions(repository: Path, name: str) -> None:
    told = r"\d+ cores of .+, Python [\d.]+, ONNX Runtime [\d.]+, roadcue [\d.]+"
    assert re.fullmatch(told, run(repository, name)["machine"])


def test_the_soak_is_told_as_it_went(page: str, repository: Path) -> None:
    soak = run(repository, "soak")
    phases = {phase["name"]: phase for phase in soak["phases"]}
    p99_ms = {name: f"{phase['p99_ms']:.0f} ms" for name, phase in phases.items()}
    first, *fifths = [found["resident_mib"] for found in soak["resources"]]
    assert first < min(fifths)
    assert f"after {soak['resources'][-1]['requests']:,} abandoned requests nothing is held" in page
    assert soak["left_over"] == dict.fromkeys(EMPTY, 0.0)
    assert soak["resources"][-1]["open_files"] == soak["resources"][0]["open_files"]
    assert f"memory is {fifths[0]:.0f} MiB after the first fifth of them" in page
    assert f"and {fifths[-1]:.0f} MiB from the third to the last" in page
    assert min(fifths[2:]) > 0.99 * max(fifths[2:])
    assert min(fifths) > 0.95 * max(fifths)
    assert f"{p99_ms['leaving']} beside a leaving crowd, {p99_ms['patient']} beside a patient one" in page
    assert f"({p99_ms['calm']} beside nobody)" in page
    assert f"of {phases['leaving']['answered']} and {phases['patient']['answered']} answers" in page
    fast = phases["leaving fast"]
    assert f"{fast['frames_per_s']:,.0f} frames a second ({fast['beside']['429']:,} requests refused)" in page
    assert f"the p99 of who stays is {p99_ms['leaving fast']}, of {fast['answered']} answers" in page
    assert soak["faults"] == []


def test_the_shutdowns_are_told_as_they_went(page: str, repository: Path) -> None:
    runs = run(repository, "shutdown")["runs"]
    assert {sum(one["workers"] == workers for one in runs) for workers in (1, 2)} == {20}
    after = sum(one["answered_after"] for one in runs)
    requests = after + sum(one["answered_before"] for one in runs)
    assert f"of {requests:,} requests, {after:,} of them answered after SIGTERM, none was lost" in page
    assert [one["lost"] for one in runs] == [[]] * len(runs)
    assert {one["exit_code"] for one in runs} == {0}


def test_a_gpu_is_told_of_once_there_was_one(page: str, repository: Path) -> None:
    measured = (repository / "benchmarks" / "gpu.json").exists()
    assert ("**Nothing here ran on a GPU**" in page) != measured
    published = section_of((repository / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8"), SECTION)
    assert published == (section(run(repository, "gpu")) if measured else "")


def test_the_starts_are_told_as_they_went(page: str, repository: Path) -> None:
    report = run(repository, "startup")
    assert (report["plan"], report["clients"], report["faults"]) == (shlex.join(PINNED), CLIENTS, [])
    starts = report["starts"]
    seconds = {n: median(one["seconds_to_ready"] for one in starts if one["workers"] == n) for n in (1, 2)}
    processes = [process for one in starts for process in (*one["when_ready"], *one["after_load"])]
    told = f"ready after {seconds[1]:.2f} s with one process and {seconds[2]:.2f} s with two, at most"
    assert f"{told} {max(process['highest_mib'] for process in processes):.0f} MiB resident a process" in page
