"""A virtual environment for each other server, outside the repository, made once and kept until its pins change."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

REQUIREMENTS: Final = Path(__file__).parent / "peers" / "requirements"
INSTALL_TIMEOUT_S: Final = 1800
STAMP: Final = "pins.txt"


class EnvironmentFailed(Exception):
    """A virtual environment could not be made; the message ends with what pip said."""


def environment(name: str, cache: Path, requirements: Path = REQUIREMENTS) -> Path:
    """The folder with the programs of the environment `name`; made where it is not there. Raises EnvironmentFailed."""
    pins = requirements / f"{name}.txt"
    folder = cache / name
    stamp = folder / STAMP
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != pins.read_text(encoding="utf-8"):
        _make(folder, pins)
        shutil.copyfile(pins, stamp)
    return folder / "bin"


def pinned(name: str, package: str, requirements: Path = REQUIREMENTS) -> str:
    """The version of a package in an environment; "" where it is not in it."""
    lines = (requirements / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return next((line.partition("==")[2] for line in lines if line.partition("==")[0].lower() == package.lower()), "")


def _make(folder: Path, pins: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _run([sys.executable, "-m", "venv", str(folder)])
    _run([str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", "-r", str(pins)])


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as problem:
        said = (getattr(problem, "stderr", "") or str(problem)).strip()[-500:]
        raise EnvironmentFailed(f"{' '.join(command)} failed: {said}") from problem
