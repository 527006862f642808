"""What is deployed agrees with the code: grace period, pins, the wheel's content, the commands' messages."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from service import __version__
from service.settings import Settings
from tests.conftest import REPOSITORY
from tests.deployment.conftest import answers, run


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """The wheel, built from the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    run([*build, "--wheel-dir", str(folder), "."])
    with zipfile.ZipFile(next(folder.glob(f"roadcue-{__version__}-*.whl"))) as opened:
        yield opened


@pytest.fixture(scope="module")
def wheel_names(wheel: zipfile.ZipFile) -> list[str]:
    """The names of the files in the wheel."""
    return wheel.namelist()


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines)


def declared_requirements() -> list[Requirement]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [requirement for extra in project["optional-dependencies"].values() for requirement in extra]
    return [Requirement(requirement) for requirement in [*project["dependencies"], *extras]]


@pytest.mark.parametrize("requirement", declared_requirements(), ids=str)
def test_each_requirement_is_pinned_to_a_version_that_it_allows(requirement: Requirement, pins: dict[str, str]) -> None:
    assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)])


def test_the_constraints_hold_names_and_versions_only() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.+]*", line)] == []


def test_the_wheel_holds_both_packages_with_types_licence_and_nothing_else(wheel_names: list[str]) -> None:
    assert {"service/py.typed", "model_training/py.typed"} <= set(wheel_names)
    assert f"roadcue-{__version__}.dist-info/licenses/LICENSE" in wheel_names
    assert {name.split("/")[0] for name in wheel_names} == {
        "service",
        "model_training",
        f"roadcue-{__version__}.dist-info",
    }


def test_the_wheel_holds_the_model_with_its_card_and_the_page_of_the_data_report(wheel_names: list[str]) -> None:
    """What is no Python and has to work where there is no checkout."""
    needed = {"service/models/street.onnx", "service/models/street.md", "model_training/data_report.html"}
    assert needed <= set(wheel_names)


def test_the_wheel_leaves_notes_and_tests_behind(wheel_names: list[str]) -> None:
    """Notes on training this project's own model serve nobody who installed it."""
    assert [name for name in wheel_names if name.startswith("model_training/") and name.endswith(".md")] == []
    assert [name for name in wheel_names if "test" in name] == []


def test_the_wheel_presents_itself_with_the_readme_and_starts_training_where_libraries_are_named(
    wheel: zipfile.ZipFile,
) -> None:
    about = f"roadcue-{__version__}.dist-info"
    assert (REPOSITORY / "README.md").read_text(encoding="utf-8") in wheel.read(f"{about}/METADATA").decode()
    scripts = wheel.read(f"{about}/entry_points.txt").decode().splitlines()
    assert "roadcue-train = model_training.entry_point:main" in scripts


def test_the_wheel_holds_every_tracked_file_of_the_service(wheel_names: list[str]) -> None:
    """The embedded model and the files of the page are not Python and easily left out."""
    if not answers("git", "-C", str(REPOSITORY), "ls-files"):
        pytest.skip("needs git and a checkout to tell which files are tracked")
    tracked = run(["git", "ls-files", "service"]).splitlines()
    assert [name for name in tracked if (REPOSITORY / name).exists() and name not in wheel_names] == []


def test_docker_waits_longer_than_the_service_needs_to_stop() -> None:
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))
    grace_s = float(compose["services"]["roadcue"]["stop_grace_period"].removesuffix("s"))
    settings = Settings.model_fields
    assert grace_s > settings["drain_seconds"].default + settings["shutdown_timeout_seconds"].default


@pytest.mark.docker
def test_the_gpu_override_reserves_a_gpu_and_chooses_the_cuda_libraries() -> None:
    if not answers("docker", "compose", "version"):
        pytest.skip("docker has no compose plugin")
    files = ["--file", "docker-compose.yml", "--file", "docker-compose.gpu.yml"]
    service = json.loads(run(["docker", "compose", *files, "config", "--format", "json"]))["services"]["roadcue"]
    device = service["deploy"]["resources"]["reservations"]["devices"][0]
    assert (device["driver"], device["capabilities"], device["count"]) == ("nvidia", ["gpu"], 1)
    assert service["build"]["args"]["LIBRARIES"] == "cuda"
    assert service["environment"]["ROADCUE_DEVICE"] == "cuda"


def test_make_names_the_python_that_is_too_old(tmp_path: Path) -> None:
    old = tmp_path / "python3.10"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.10.1" && exit 0\nexit 1\n')
    old.chmod(0o755)
    done = make_in(tmp_path, "serve", f"PYTHON={old}")
    assert done.returncode != 0
    assert "Roadcue needs Python 3.11 or newer" in done.stderr
    assert "is Python 3.10.1" in done.stderr


def test_make_alone_lists_the_commands(tmp_path: Path) -> None:
    listed = make_in(tmp_path).stdout.splitlines()
    assert {"make serve", "make test"} <= {" ".join(line.split()[:2]) for line in listed}


def make_in(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """`make` in a folder that holds nothing but the files it reads."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, folder / name)
    return subprocess.run(["make", *arguments], cwd=folder, env=dict(os.environ), capture_output=True, text=True)


def test_nothing_is_reported_to_anybody(tmp_path: Path) -> None:
    """ONNX Runtime, once imported, would otherwise write an identifier of the machine and send its use."""
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    run([sys.executable, "-c", "import service.inference.session"], environment)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_lines_for_uncertain_frames_in_the_compose_file_work_when_they_are_taken_in() -> None:
    """What is mounted is the folder that the service is told to keep them in."""
    text = (REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8")
    taken_in = re.sub(r"^( +)# (user:|environment:|  ROADCUE_|volumes:|  - \./)", r"\1\2", text, flags=re.MULTILINE)
    plain, service = (yaml.safe_load(content)["services"]["roadcue"] for content in (text, taken_in))
    assert {key: value for key, value in service.items() if key not in plain} == {
        "user": "1000:1000",
        "environment": {"ROADCUE_UNCERTAIN": "/uncertain"},
        "volumes": ["./uncertain:/uncertain"],
    }
    assert "uncertain" in Settings.model_fields
