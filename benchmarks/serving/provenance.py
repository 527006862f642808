"""What the figures hold for: the command, the machine, the versions."""

import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Final

import onnxruntime

from benchmarks.serving.closed_loop import find_wrk
from benchmarks.serving.contenders import CONTENDERS
from benchmarks.serving.environments import pinned
from service import __version__
from service.inference.artifact import Artifact
from service.inference.execution import available_cpus
from service.inference.machine import cpu_name

DISTRIBUTIONS: Final = {
    "simplejpeg": "simplejpeg",
    "OpenCV": "opencv-python-headless",
    "NumPy": "numpy",
    "uvicorn": "uvicorn",
    "uvloop": "uvloop",
    "httptools": "httptools",
}
"""What a frame goes through in our service, from the socket to the session."""


@dataclass(frozen=True, slots=True)
class Run:
    """What the figures hold for."""

    command: str
    date: str
    minutes: float
    cpu: str
    cores: int
    memory_gib: float
    load_before: float
    model: str
    frames: str
    versions: dict[str, str]


def this_run(model: Path, frames: Path | None, names: Sequence[str], started_s: float, load_before: float) -> Run:
    """Of the run that began at `started_s` on the monotonic clock, under that load average."""
    model_metadata = Artifact.read(model).metadata
    size = model_metadata.input
    return Run(
        command=shlex.join(["python", "-m", "benchmarks.serving", *sys.argv[1:]]),
        date=datetime.now(UTC).date().isoformat(),
        minutes=(time.monotonic() - started_s) / 60,
        cpu=cpu_name(),
        cores=available_cpus(),
        memory_gib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        load_before=load_before,
        model=f"{model_metadata.name} {model_metadata.version} ({size.height} x {size.width} pixels)",
        frames=frames.name if frames else "one picture that is made",
        versions=versions(names),
    )


def versions(names: Sequence[str]) -> dict[str, str]:
    """Of everybody who is measured, and of what all of them run on."""
    of_peers = {one.name: pinned(one.environment, one.package) for one in CONTENDERS if not one.is_ours}
    python = ".".join(map(str, sys.version_info[:3]))
    own = {"roadcue": __version__, "ONNX Runtime": onnxruntime.__version__, "Python": python}
    libraries = {name: metadata.version(distribution) for name, distribution in DISTRIBUTIONS.items()}
    below = {"wrk": _wrk_version(), platform.system(): platform.release()}
    return {**own, **libraries, **below, **{name: version for name, version in of_peers.items() if name in names}}


def _wrk_version() -> str:
    # It tells its version, then its usage, and exits with 1.
    told = subprocess.run([find_wrk(), "-v"], check=False, capture_output=True, text=True)  # noqa: S603
    return (told.stdout + told.stderr).split()[1]
