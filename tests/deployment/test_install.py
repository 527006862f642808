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
import numpy as np
import pytest

from service.inference.driving_frame import driving_frame
from tests.conftest import REPOSITORY
from tests.deployment.conftest import NEEDS_TRAINING_LIBRARIES, answers, post_frame, run
from tests.document import blocks, commands, section

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
        command = ["make", "serve", f"PYTHON={sys.executable}", "ARGS=--port 0"]
        self.process = subprocess.Popen(
            command, cwd=clone, env=of_a_newcomer(), stderr=subprocess.PIPE, text=True, start_new_session=True
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


def test_the_readme_is_followed_in_a_fresh_clone(clone: Path, tmp_path: Path) -> None:
    """With what `make install` and its own pip lines bring: CSV and Parquet for a folder and a video, both clients."""
    pytest.importorskip("av", reason="the video is made with PyAV: pip install 'roadcue[video]'")
    readme = (clone / "README.md").read_text(encoding="utf-8")
    write_material(tmp_path)
    in_clone(clone, clone, f"make install PYTHON={sys.executable}")
    for line in re.findall(r"^    (pip install .*video.*)$|`(pip install 'tritonclient.*?)`", readme, re.MULTILINE):
        in_clone(clone, clone, f"{''.join(line)} --quiet --disable-pip-version-check")
    with served(clone) as started:
        url = started.url()
        for command in commands(section(readme, "Label a folder or a video")):
            in_clone(clone, tmp_path, command.replace("http://localhost:8000", url))
        for number, program in enumerate(blocks(readme, "python")):
            (tmp_path / f"{number}.py").write_text(program.replace("localhost:8000", url.removeprefix("http://")))
        ours, theirs = (in_clone(clone, tmp_path, f"python {number}.py") for number in range(2))
    photos, drive = ((tmp_path / name).read_text().splitlines() for name in ("photos.csv", "drive.csv"))
    assert (len(photos), len(drive)) == (1 + 2, 1 + 2)
    assert (tmp_path / "photos.parquet").read_bytes().startswith(b"PAR1")
    assert all(label in ours for label in LABELS)
    assert len(theirs.strip("[] \n").split()) == len(LABELS)


def write_material(folder: Path) -> None:
    """What the README speaks of: frame.jpg, photos, and drive.mp4 of a second."""
    from tests.service.scoring.made_videos import write_video

    frames = [np.full((90, 160, 3), level, np.uint8) for level in range(10)]
    write_video(folder / "drive.mp4", frames, codec="mpeg4", pixels="yuv420p")
    (folder / "photos").mkdir()
    for name in ("frame.jpg", "photos/a.jpg", "photos/b.jpg"):
        (folder / name).write_bytes(driving_frame(100_000))


def in_clone(clone: Path, folder: Path, command: str) -> str:
    """What a command prints, typed in `folder` after `. .venv/bin/activate` in the clone."""
    typed = f". {clone}/.venv/bin/activate; cd {folder}; {command}" if (clone / ".venv").exists() else command
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", typed], cwd=folder, env=of_a_newcomer(), capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def of_a_newcomer() -> dict[str, str]:
    """The environment without what the make that runs these tests, or its caller, hands down."""
    foreign = ("ROADCUE_", "MAKE", "MFLAGS", "VIRTUAL_ENV", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


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
