"""A Docker engine, the image and a started compose project; removed again whatever happens."""

import json
import os
import re
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from tests.conftest import REPOSITORY

ENGINE_TOOL = REPOSITORY.parent / "shared" / "tools" / "docker-engine"
NEEDS_TRAINING_LIBRARIES = (
    "roadcue-train needs the libraries of training: pip install 'roadcue[training]' (torch is not installed)"
)
COMPOSE_FILE = REPOSITORY / "docker-compose.yml"
BUILD_LIMIT_S, ENGINE_LIMIT_S, START_LIMIT_S = 900, 900, 120


@dataclass(frozen=True)
class Deployment:
    """A compose project of its own name, image tag and port."""

    project: str
    tag: str
    port: int
    workers: int = 1
    file: Path = COMPOSE_FILE

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        given = {"TAG": self.tag, "PUBLISHED_PORT": str(self.port), "WORKERS": str(self.workers)}
        return {**os.environ, **given, "COMPOSE_FILE": str(self.file)}

    def command(self, *arguments: str) -> list[str]:
        return ["docker", "compose", "--project-name", self.project, *arguments]

    def compose(self, *arguments: str) -> str:
        return run(self.command(*arguments), self.environment)

    def python(self, source: str) -> str:
        """What Python code prints inside the running container."""
        return self.compose("exec", "-T", "roadcue", "python", "-c", source).strip()

    def state(self) -> dict[str, Any]:
        """The engine's account of the container, running or not."""
        container = self.compose("ps", "--all", "--quiet", "roadcue").strip()
        return dict(json.loads(run(["docker", "inspect", container]))[0]["State"])


def run(command: list[str], environment: dict[str, str] | None = None, limit_s: float = BUILD_LIMIT_S) -> str:
    """The standard output of a command; fails the test with what it wrote when it fails."""
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=limit_s)
    if done.returncode:
        pytest.fail(f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def answers(*command: str) -> bool:
    return shutil.which(command[0]) is not None and subprocess.run(command, capture_output=True).returncode == 0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start_engine() -> None:
    """Bring an engine up with the tool beside the checkout; skips where that is not possible."""
    done = subprocess.run([ENGINE_TOOL, "up"], capture_output=True, text=True, timeout=ENGINE_LIMIT_S)
    if done.returncode:
        pytest.skip(f"no Docker engine answers and none can be started: {(done.stderr.strip() or 'no reason')[-300:]}")


@pytest.fixture(scope="session")
def engine() -> Iterator[None]:
    """An engine that answers; one that the tests started is stopped again."""
    was_running = answers("docker", "info")
    if ENGINE_TOOL.exists():
        start_engine()
    elif not was_running:
        pytest.skip("no Docker engine answers, and there is no ../shared/tools/docker-engine to start one")
    if not answers("docker", "compose", "version"):
        pytest.skip("docker has no compose plugin")
    yield
    if not was_running:
        subprocess.run([ENGINE_TOOL, "down"], check=True)


@pytest.fixture(scope="session")
def image(engine: None) -> Iterator[str]:
    """The image as `docker compose build` makes it, under a tag of its own; the engine keeps its build cache."""
    tag = f"test-{uuid.uuid4().hex[:12]}"
    deployment = Deployment(f"roadcue-{tag}", tag, 0)
    try:
        deployment.compose("build")
        yield f"roadcue:{tag}"
    finally:
        subprocess.run(["docker", "image", "rm", "--force", f"roadcue:{tag}"], capture_output=True)


@contextmanager
def deployed(image: str, workers: int = 1, file: Path = COMPOSE_FILE) -> Iterator[Deployment]:
    """A started, healthy compose project; the container's log is shown when it does not become healthy."""
    name, tag = f"roadcue-test-{uuid.uuid4().hex[:12]}", image.partition(":")[2]
    deployment = Deployment(name, tag, free_port(), workers, file)
    try:
        start = deployment.command("up", "--detach", "--wait", "--wait-timeout", str(START_LIMIT_S))
        started = subprocess.run(start, cwd=REPOSITORY, env=deployment.environment, capture_output=True, text=True)
        if started.returncode:
            pytest.fail(f"not healthy: {started.stderr[-2000:]}\n{deployment.compose('logs', '--tail', '50')}")
        yield deployment
    finally:
        down = deployment.command("down", "--volumes", "--timeout", "1")
        subprocess.run(down, cwd=REPOSITORY, env=deployment.environment, capture_output=True)


@pytest.fixture(scope="module")
def deployment(image: str) -> Iterator[Deployment]:
    """One started project for all tests of a module that only look at it."""
    with deployed(image) as started:
        yield started


@pytest.fixture(scope="session")
def frame() -> bytes:
    """A JPEG of 640x480 pixels."""
    ramp_HWC = np.linspace(0, 255, 480 * 640 * 3).reshape(480, 640, 3).astype(np.uint8)
    return bytes(cv2.imencode(".jpg", ramp_HWC)[1])


def with_uncertain_frames() -> str:
    """The compose file once the lines for uncertain frames are taken in."""
    text = COMPOSE_FILE.read_text(encoding="utf-8")
    return re.sub(r"^( +)# (user:|ROADCUE_UNCERTAIN|volumes:|  - \./)", r"\1\2", text, flags=re.MULTILINE)


def post_frame(client: httpx.Client, url: str, frame: bytes) -> httpx.Response:
    return client.post(f"{url}/predict", files={"file": ("frame.jpg", frame, "image/jpeg")})
