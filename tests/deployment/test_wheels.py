"""The wheels work where they are installed, and so does the checkout."""

import os
import re
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from service import __version__
from tests.conftest import REPOSITORY
from tests.deployment.conftest import post_frame, run

pytestmark = pytest.mark.install

LABELS = ["pedestrian", "car", "stop_sign", "traffic_light"]


class Environment:
    """A virtual environment without our code, which has every library that this one has."""

    def __init__(self, folder: Path) -> None:
        run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
        self.bin = folder / "bin"
        self.python = self.bin / "python"
        self._lend_libraries(Path(self.tell("import sysconfig; print(sysconfig.get_path('purelib'))")))

    def install(self, *arguments: str) -> None:
        """With nothing from elsewhere."""
        run([sys.executable, "-m", "pip", "--python", str(self.python), "install", "--quiet", *OFFLINE, *arguments])

    def tell(self, source: str) -> str:
        """What Python code prints, far away from the checkout."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [self.python, "-c", source], cwd=self.bin, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def _lend_libraries(self, packages: Path) -> None:
        """Link what is installed beside us, but us: pip takes it for installed, and downloads nothing."""
        for entry in Path(sysconfig.get_path("purelib")).iterdir():
            if "roadcue" not in entry.name and entry.name != "__pycache__":
                (packages / entry.name).symlink_to(entry)


class FreshEnvironment(Environment):
    """A virtual environment with pip and nothing else; what it installs and builds with is the package index's."""

    def __init__(self, folder: Path) -> None:
        run([sys.executable, "-m", "venv", str(folder)])
        self.bin = folder / "bin"
        self.python = self.bin / "python"

    def pip(self, *arguments: str) -> None:
        run([str(self.python), "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"])


OFFLINE = ("--no-index", "--no-build-isolation", "--disable-pip-version-check")


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "environment")


def test_an_installed_wheel_serves_the_embedded_model_and_knows_no_training(
    environment: Environment, frame: bytes, tmp_path: Path
) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", *OFFLINE]
    run([*build, "--wheel-dir", str(tmp_path), "."])
    environment.install(str(tmp_path / f"roadcue-{__version__}-py3-none-any.whl"))
    place = environment.tell("import service, sys; print(service.__file__)")
    assert place.startswith(str(environment.bin.parent))
    assert environment.tell("import importlib.util as u; print(u.find_spec('model_training'))") == "None"
    assert not (environment.bin / "roadcue-train").exists()
    (tmp_path / "frame.jpg").write_bytes(frame)
    predicted = subprocess.run(
        [environment.bin / "roadcue", "predict", "--format", "csv", tmp_path / "frame.jpg"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert predicted.returncode == 0, predicted.stderr
    assert predicted.stdout.splitlines()[0].split(",")[5:9] == LABELS
    with served(environment, tmp_path) as url, httpx.Client(timeout=60) as client:
        answer = post_frame(client, url, frame)
    assert list(answer.json()["frames"][0]["probabilities"]) == LABELS


def test_a_wheel_built_in_isolation_brings_all_that_it_needs_and_serves(frame: bytes, tmp_path: Path) -> None:
    """Neither a build requirement nor a dependency is missing: nothing but Python was there before."""
    fresh = FreshEnvironment(tmp_path / "fresh")
    fresh.pip("wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(REPOSITORY))
    fresh.pip("install", str(tmp_path / f"roadcue-{__version__}-py3-none-any.whl"))
    assert fresh.tell("import importlib.util as u; print(u.find_spec('torch'), u.find_spec('model_training'))") == (
        "None None"
    )
    with served(fresh, tmp_path) as url, httpx.Client(timeout=60) as client:
        answer = post_frame(client, url, frame)
    assert list(answer.json()["frames"][0]["probabilities"]) == LABELS
    fresh.pip("install", f"{tmp_path / f'roadcue-{__version__}-py3-none-any.whl'}[video,parquet]")
    assert fresh.tell("import av, pyarrow; print('there')") == "there"


@contextmanager
def served(environment: Environment, folder: Path) -> Iterator[str]:
    """Where the installed service answers, in a folder that has nothing of ours."""
    command = [environment.bin / "roadcue", "serve", "--port", "0", "--tuning-seconds", "0"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    guard = threading.Timer(60, process.kill)
    guard.start()
    try:
        lines = []
        for line in process.stderr or ():
            lines.append(line)
            if " ready " in line:
                break
        yield re.findall(r"listening .*?(http://[\w.:]+)", "".join(lines))[0]
    finally:
        guard.cancel()
        process.kill()
        process.communicate()


def test_the_extra_brings_the_training_from_the_checkout(environment: Environment) -> None:
    """As `pip install '.[training]'` in a clone; the code is copied, so the clone may go."""
    environment.install(f"{REPOSITORY}[training]")
    place = environment.tell("import model_training.commands.train, model_training as m; print(m.__file__)")
    assert place.startswith(str(environment.bin.parent))
    assert (
        "train" in subprocess.run([environment.bin / "roadcue-train", "--help"], capture_output=True, text=True).stdout
    )


def test_an_editable_install_has_the_training_of_the_checkout_itself(environment: Environment) -> None:
    """A change there is in effect at once."""
    environment.install("--editable", f"{REPOSITORY}[training]")
    assert environment.tell("import model_training; print(model_training.__file__)") == str(
        REPOSITORY / "model_training" / "__init__.py"
    )
    told = subprocess.run([environment.bin / "roadcue-train", "--version"], capture_output=True, text=True)
    assert told.stdout.strip() == f"roadcue-train, version {__version__}"
