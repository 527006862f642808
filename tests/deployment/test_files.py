"""What is deployed agrees with the code: grace period, pins, the wheel's content, the commands' messages."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from service import __version__
from service.settings import Settings
from tests.conftest import REPOSITORY
from tests.deployment.conftest import COMPOSE_FILE, answers, run, with_uncertain_frames

DISTRIBUTIONS = ("roadcue", "roadcue_training")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, zipfile.ZipFile]]:
    """The wheels of both distributions, built from the checkout."""
    folder = tmp_path_factory.mktemp("wheels")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    run([*build, "--wheel-dir", str(folder), ".", "./model_training"])
    opened = {name: zipfile.ZipFile(folder / f"{name}-{__version__}-py3-none-any.whl") for name in DISTRIBUTIONS}
    yield opened
    for file in opened.values():
        file.close()


@pytest.fixture(scope="module")
def wheel(wheels: dict[str, zipfile.ZipFile]) -> zipfile.ZipFile:
    """The wheel of the service."""
    return wheels["roadcue"]


@pytest.fixture(scope="module")
def wheel_names(wheel: zipfile.ZipFile) -> list[str]:
    """The names of the files in the wheel of the service."""
    return wheel.namelist()


@pytest.fixture(scope="module")
def training_names(wheels: dict[str, zipfile.ZipFile]) -> list[str]:
    """The names of the files in the wheel of training."""
    return wheels["roadcue_training"].namelist()


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


def test_the_wheel_holds_the_service_with_types_and_licence_and_nothing_else(wheel_names: list[str]) -> None:
    """No tests, and no training code for whoever only serves."""
    about = f"roadcue-{__version__}.dist-info"
    assert {"service/py.typed", f"{about}/licenses/LICENSE"} <= set(wheel_names)
    assert {name.split("/")[0] for name in wheel_names} == {"service", about}
    assert [name for name in wheel_names if "test" in name] == []


def test_the_wheel_holds_the_models_with_their_card_and_the_pages(wheel_names: list[str]) -> None:
    """What is no Python and has to work where there is no checkout."""
    models = {f"service/models/street{end}" for end in (".onnx", ".int8.onnx", ".float16.onnx", ".md")}
    pages = {"service/answer_page/page.html", "service/web/playground/page.html"}
    assert models | pages <= set(wheel_names)


def test_the_wheel_of_training_holds_its_code_with_types_and_licence_and_nothing_else(
    training_names: list[str],
) -> None:
    """Notes on training this project's own model serve nobody who installed it."""
    about = f"roadcue_training-{__version__}.dist-info"
    assert {"model_training/py.typed", "model_training/LICENSE", "model_training/cli.py"} <= set(training_names)
    assert {name.split("/")[0] for name in training_names} == {"model_training", about}
    assert [name for name in training_names if name.endswith((".md", "pyproject.toml")) or "test" in name] == []


def test_the_wheel_of_training_holds_every_tracked_file_but_its_notes(training_names: list[str]) -> None:
    """The pages of the reports are not Python and easily left out."""
    missing = [name for name in tracked_files("model_training") if name not in training_names]
    assert [name for name in missing if not name.endswith((".md", "pyproject.toml"))] == []


def test_both_wheels_have_one_version_and_need_each_other_in_it(wheels: dict[str, zipfile.ZipFile]) -> None:
    service, training = (metadata_of(wheels[name]) for name in DISTRIBUTIONS)
    assert service["Version"] == training["Version"] == __version__
    assert training.get_all("Requires-Dist") == [f"roadcue[training]=={__version__}"]
    extra = [need for need in service.get_all("Requires-Dist", []) if need.startswith("roadcue-training")]
    # From a checkout: what it is built from lies there.
    assert extra == [f"roadcue-training @ {(REPOSITORY / 'model_training').as_uri()} ; extra == 'training'"]


def test_each_wheel_has_its_own_command(wheels: dict[str, zipfile.ZipFile]) -> None:
    scripts = {
        name: wheels[name].read(f"{name}-{__version__}.dist-info/entry_points.txt").decode().splitlines()[1:]
        for name in DISTRIBUTIONS
    }
    assert scripts == {
        "roadcue": ["roadcue = service.cli:main"],
        "roadcue_training": ["roadcue-train = model_training.entry_point:main"],
    }


def test_the_wheel_presents_itself_with_the_readme(wheel: zipfile.ZipFile) -> None:
    text = wheel.read(f"roadcue-{__version__}.dist-info/METADATA").decode()
    assert (REPOSITORY / "README.md").read_text(encoding="utf-8") in text


@pytest.fixture(scope="module")
def source_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, built from the checkout."""
    folder = tmp_path_factory.mktemp("sdist")
    run([sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(folder), "."])
    return next(folder.glob("*.tar.gz"))


def test_the_source_archive_is_complete(source_archive: Path) -> None:
    """Everything that is tracked but what only this repository's host reads."""
    with tarfile.open(source_archive) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    own = (".ci/", ".dockerignore", ".gitattributes", ".github/", "tools/")
    assert [name for name in tracked_files(".") if name not in held and not name.startswith(own)] == []


def test_a_wheel_from_the_source_archive_needs_the_training_of_its_version(
    source_archive: Path, tmp_path: Path
) -> None:
    """A release names no place of the machine that built it."""
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    run([*build, "--wheel-dir", str(tmp_path), str(source_archive)])
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as released:
        needs = metadata_of(released).get_all("Requires-Dist", [])
    assert [need for need in needs if need.startswith("roadcue-training")] == [
        f"roadcue-training=={__version__}; extra == 'training'"
    ]
    assert [need for need in needs if "file:" in need] == []


def metadata_of(wheel: zipfile.ZipFile) -> Message:
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return message_from_bytes(wheel.read(name))


def tracked_files(place: str) -> list[str]:
    """What git keeps there and has not been removed."""
    if not answers("git", "-C", str(REPOSITORY), "ls-files"):
        pytest.skip("needs git and a checkout to tell which files are tracked")
    names = run(["git", "ls-files", place]).splitlines()
    return [name for name in names if (REPOSITORY / name).exists()]


def test_the_wheel_holds_every_tracked_file_of_the_service(wheel_names: list[str]) -> None:
    """The embedded model and the files of the page are not Python and easily left out."""
    assert [name for name in tracked_files("service") if name not in wheel_names] == []


def test_docker_waits_longer_than_the_service_needs_to_stop() -> None:
    compose = yaml.safe_load(COMPOSE_FILE.read_text(encoding="utf-8"))
    grace_s = float(compose["services"]["roadcue"]["stop_grace_period"].removesuffix("s"))
    settings = Settings.model_fields
    assert grace_s > settings["drain_seconds"].default + settings["shutdown_timeout_seconds"].default


@pytest.mark.parametrize("name", ["docker-compose.yml", "docker-compose.gpu.yml"])
def test_the_device_is_the_one_whose_libraries_the_image_has(name: str) -> None:
    """Without CUDA's libraries `auto` would be a fallback, which wakes who watches the alerts."""
    service = yaml.safe_load((REPOSITORY / name).read_text(encoding="utf-8"))["services"]["roadcue"]
    assert service["environment"]["ROADCUE_DEVICE"] == service["build"]["args"]["LIBRARIES"]


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
    texts = (COMPOSE_FILE.read_text(encoding="utf-8"), with_uncertain_frames())
    plain, service = (yaml.safe_load(text)["services"]["roadcue"] for text in texts)
    assert {key: value for key, value in service.items() if value != plain.get(key)} == {
        "user": "1000:1000",
        "environment": plain["environment"] | {"ROADCUE_UNCERTAIN": "/uncertain"},
        "volumes": ["./uncertain:/uncertain"],
    }
    assert "uncertain" in Settings.model_fields
