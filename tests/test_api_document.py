"""What docs/api.md shows is what the service does: its programs and commands run, against the real service."""

import contextlib
import io
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.client import ClientError, errors
from service.inference.driving_frame import driving_frame
from service.web.open_inference.routes import router
from tests.service.server_process import ServerProcess


@pytest.fixture(scope="module")
def document(repository: Path) -> str:
    return (repository / "docs" / "api.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """The service with its embedded model."""
    process = ServerProcess().ready()
    yield process
    process.kill()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the reader is: with a frame, and with a drive of three."""
    (tmp_path / "drive").mkdir()
    for name in ("frame.jpg", "drive/1.jpg", "drive/2.jpg", "drive/3.jpg"):
        (tmp_path / name).write_bytes(driving_frame(100_000))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def at(server: ServerProcess, text: str) -> str:
    """The text with the address of the service that runs."""
    assert "localhost:8000" in text
    return text.replace("localhost:8000", server.url.removeprefix("http://"))


def test_programs_run_and_print_answers(document: str, server: ServerProcess) -> None:
    """They share their names, as somebody's who tries one after the other."""
    printed, names = io.StringIO(), {"__name__": "tried"}
    programs = re.findall(r"^```python\n(.+?)^```", document, re.MULTILINE | re.DOTALL)
    assert len(programs) == 3
    with contextlib.redirect_stdout(printed):
        for program in programs:
            exec(at(server, program), names)  # type: ignore[arg-type]
    lines = printed.getvalue().splitlines()
    assert re.match(r"\{'pedestrian': .+, 'car': .+, 'stop_sign': .+, 'traffic_light': .+\} \(1, 4, ", lines[0])
    assert sorted(line.partition(" ")[0] for line in lines[2:5]) == ["drive/1.jpg", "drive/2.jpg", "drive/3.jpg"]
    assert lines[5].startswith("unsupported_image the frame begins with")
    assert sorted(line.partition(" ")[0] for line in lines[6:]) == ["0", "1"]


def test_commands_run_and_are_answered(document: str, server: ServerProcess) -> None:
    commands = re.findall(r"^    (curl .+(?:\n      .+)*)", document, re.MULTILINE)
    assert len(commands) == 2
    replies = [
        subprocess.run(["bash", "-c", at(server, f"curl -sS {command[5:]}")], capture_output=True, check=True).stdout
        for command in commands
    ]
    assert replies[0].startswith(b'{"model_name":"street"')
    answered = json.loads(replies[1])
    assert (answered["id"], answered["outputs"][0]["shape"]) == ("42", [1, 4])


def test_every_path_of_the_protocol_is_in_the_table(document: str) -> None:
    paths = {f"{route.path}" for route in router.routes}  # type: ignore[attr-defined]
    told = set(re.findall(r"`(?:GET|POST) (/v2[^`]*)`", document))
    assert {path.replace("/versions/{version}", "") for path in paths} == told


def test_every_error_of_the_client_is_in_the_table(document: str) -> None:
    classes = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, ClientError)]
    told = document.partition("| Error |")[2]
    assert {*re.findall(r"^\| `(\w+)` \|", told, re.MULTILINE)} == {cls.__name__ for cls in classes} - {"ClientError"}
