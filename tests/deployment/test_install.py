"""A newcomer clones the repository and runs one command: it serves."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.conftest import REPOSITORY
from tests.deployment.conftest import NEEDS_TRAINING_LIBRARIES, answers, post_frame, run

pytestmark = pytest.mark.install

INSTALL_LIMIT_S, STOP_LIMIT_S = 600.0, 60.0
LABELS = ["pedestrian", "car", "stop_sign", "traffic_light"]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last commit, as a newcomer gets it: what is not committed is not there."""
    if not answers("git", "-C", str(REPOSITORY), "ls-files"):
        pytest.skip("needs git and a checkout to clone")
    folder = tmp_path_factory.mktemp("newcomer") / "roadcue"
    run(["git", "clone", "--quiet", "--no-hardlinks", str(REPOSITORY), str(folder)])
    return folder


@pytest.fixture
def photograph(frame: bytes) -> bytes:
    """A real one where there is one beside the checkout, else a drawn frame."""
    real = (REPOSITORY.parent / "shared" / "streetframes" / "images" / "coco_subsets").glob("*.jpg")
    return next((file.read_bytes() for file in sorted(real)), frame)


class Served:
    """`make serve` in a process group of its own, like a command in a terminal."""

    def __init__(self, clone: Path) -> None:
        # What the make that runs these tests, or its caller, hands down is nothing a newcomer has.
        foreign = ("ROADCUE_", "MAKE", "MFLAGS", "VIRTUAL_ENV", "PYTHONPATH")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        command = ["make", "serve", f"PYTHON={sys.executable}", "ARGS=--port 0"]
        self.process = subprocess.Popen(
            command, cwd=clone, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.lines: list[str] = []

    def url(self) -> str:
        """Where it answers, once it is ready; fails with what it wrote when it ends before."""
        guard = threading.Timer(INSTALL_LIMIT_S, self.kill)
        guard.start()
        try:
            self._read_until(" ready ")
        finally:
            guard.cancel()
        return re.findall(r"listening .*?(http://[\w.:]+)", "".join(self.lines))[0]

    def _read_until(self, text: str) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.lines.append(line)
            if text in line:
                return
        pytest.fail(f"`make serve` ended before it was ready:\n{''.join(self.lines)[-4000:]}")

    def interrupt(self) -> None:
        """Ctrl-C: the terminal signals the whole group. Returns when all of it has ended."""
        os.killpg(self.process.pid, signal.SIGINT)
        self.lines += (self.process.communicate(timeout=STOP_LIMIT_S)[1]).splitlines(keepends=True)

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)


@contextmanager
def served(clone: Path) -> Iterator[Served]:
    started = Served(clone)
    try:
        yield started
    finally:
        started.kill()
        started.process.communicate()


def test_make_serve_in_a_fresh_clone_answers_a_photograph_and_ends_on_ctrl_c(clone: Path, photograph: bytes) -> None:
    """With the embedded model, and without a word of error at the end."""
    with served(clone) as started, httpx.Client(timeout=STOP_LIMIT_S) as client:
        url = started.url()
        answer = post_frame(client, url, photograph)
        started.interrupt()
        assert answer.status_code == 200, answer.text
        assert list(answer.json()["frames"][0]["probabilities"]) == LABELS
        assert "Traceback" not in "".join(started.lines)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/health/live")


def test_training_says_in_one_line_what_to_install_where_only_serving_is(clone: Path) -> None:
    """`make serve` puts the command there without PyTorch."""
    command = clone / ".venv" / "bin" / "roadcue-train"
    if not command.exists():
        pytest.skip("`make serve` did not install")
    done = subprocess.run([command, "train", "."], cwd=clone, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [NEEDS_TRAINING_LIBRARIES]


def test_a_fresh_clone_stays_clean(clone: Path) -> None:
    """Nothing that setting up and serving wrote turns up as a change."""
    assert run(["git", "-C", str(clone), "status", "--porcelain"]) == ""
