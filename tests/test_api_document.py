"""What docs/api.md shows is what the service does: its programs and commands run, against the real service."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.client import ClientError, errors
from service.inference.driving_frame import driving_frame
from service.web.open_inference.routes import router
from service.web.problems import KINDS
from service.web.schemas import FrameAnswer, FrameProblem, PredictReply
from tests.document import blocks, commands, printed, rows, section, shell
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
    programs = blocks(document, "python")
    assert len(programs) == 3
    lines = printed([at(server, program) for program in programs])
    assert re.match(r"\{'pedestrian': .+, 'car': .+, 'stop_sign': .+, 'traffic_light': .+\} \(1, 4, ", lines[0])
    assert sorted(line.partition(" ")[0] for line in lines[2:5]) == ["drive/1.jpg", "drive/2.jpg", "drive/3.jpg"]
    assert lines[5].startswith("unsupported_image the frame begins with")
    assert sorted(line.partition(" ")[0] for line in lines[6:]) == ["0", "1"]


def answers(document: str, server: ServerProcess, folder: Path) -> list[Any]:
    """What the service answers to each command of the document."""
    done = [shell(folder, at(server, line).replace("curl ", "curl -sS ")) for line in commands(document)]
    assert [one.stderr for one in done if one.returncode] == []
    return [json.loads(one.stdout) for one in done]


def test_frames_are_answered_as_shown(document: str, server: ServerProcess, folder: Path, repository: Path) -> None:
    """Names, members and the bad frame's problem; the probabilities shown are those of the README's example."""
    (folder / "notes.txt").write_text("hello\n")
    form, several, raw, evidence, in_time, mixed, refused = answers(document, server, folder)
    shown, shown_refusal = map(json.loads, blocks(document, "json"))
    assert [frame["name"] for frame in several["frames"]] == ["1.jpg", "2.jpg"]
    assert [raw["frames"][0]["name"], in_time["frames"][0]["name"]] == ["frame", "frame.jpg"]
    height, width = evidence["frames"][0]["evidence"]["grid"]
    assert np.shape(list(evidence["frames"][0]["evidence"]["maps"].values())) == (4, height, width)
    assert members(mixed) == members(shown)
    assert {**form, "frames": [], "timing_ms": {}} == {**shown, "frames": [], "timing_ms": {}}
    assert mixed["frames"][1] == shown["frames"][1]
    assert refused == shown_refusal
    readme = (repository / "README.md").read_text(encoding="utf-8")
    assert all(f'"{label}": {p}' in readme for label, p in shown["frames"][0]["probabilities"].items())


def members(value: Any, name: str = "") -> set[str]:
    """Where the members of a document are: frames[].width."""
    if isinstance(value, dict):
        inside = [members(item, f"{name}.{key}".strip(".")) for key, item in value.items()]
        return set().union(*inside)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return set().union(*(members(item, f"{name}[]") for item in value))
    return {name}


def test_every_member_of_an_answer_is_in_the_table(document: str) -> None:
    told = {name for cells in rows(document, "Member") for name in re.findall(r"`([\w.\[\]]+)`", cells[0])}
    of_frames = {*FrameAnswer.model_fields, *FrameProblem.model_fields}
    assert told == {name for name in PredictReply.model_fields if name != "frames"} | {
        f"frames[].{name}" for name in of_frames
    }


def test_every_problem_is_in_one_table_with_its_status_and_remedy(document: str) -> None:
    part = section(document, "Problems")
    told = re.findall(r"^\| `(\w+)` \| (\d{3}) \| (.+) \|$", part, re.MULTILINE)
    assert sorted(told) == sorted((kind.code, str(kind.status), kind.remedy) for kind in KINDS.values())


def test_codes_that_predict_promises_are_not_among_those_of_the_command_line(
    document: str, server: ServerProcess
) -> None:
    """By the OpenAPI document of the running service."""
    responses = httpx.get(f"{server.url}/openapi.json", timeout=60).json()["paths"]["/predict"]["post"]["responses"]
    contents = [response["content"].get("application/problem+json", {}) for response in responses.values()]
    promised = {code for content in contents for code in content.get("examples", {})}
    of_service, _, elsewhere = section(document, "Problems").partition("Codes that only")
    assert "queue_full" in promised
    assert promised <= set(re.findall(r"^\| `(\w+)` \|", of_service, re.MULTILINE))
    assert promised.isdisjoint(re.findall(r"^\| `(\w+)` \|", elsewhere, re.MULTILINE))


def test_commands_of_the_protocol_run_and_are_answered(document: str, server: ServerProcess) -> None:
    told = re.findall(r"^    (curl .+(?:\n      .+)*)", document, re.MULTILINE)
    assert len(told) == 2
    replies = [
        subprocess.run(["bash", "-c", at(server, f"curl -sS {command[5:]}")], capture_output=True, check=True).stdout
        for command in told
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
